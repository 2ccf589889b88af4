"""What caches share: the passes of steps that compute all blocks, and of those that do not."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.diffusion.caches.block_values import BLOCK_VALUES, Kept, zeros
from slimdit.models.dit import DiT


class StepCache(nn.Module):
    """Full passes, which compute all blocks, and cached passes, which take what the blocks would
    give from the last full ones.

    A cached pass still has all that is outside of the blocks, and gates of its own timestep.

    Args:
        is_full: of each step k, bool (K,). In each stretch of steps that are guided alike at least
            the first `num_kept`, since a second prediction that begins or ends makes batches of
            another size.
        of: what is kept, a key of BLOCK_VALUES.
    """

    num_kept: ClassVar[int]  # of how many full steps
    is_calibrated: ClassVar[bool] = False  # whether a model tells which steps are full

    def __init__(self, is_full: np.ndarray, of: str):
        super().__init__()
        self.is_full, self.values = is_full, BLOCK_VALUES[of]

    def predicted(self, k: Tensor, *kept: Tensor) -> Tensor:
        """What one value, (B, N, C), is at step k, (1,), by its values at the last `num_kept` full
        steps, the latest first."""
        raise NotImplementedError

    def forward(
        self, model: DiT, x: Tensor, c: Tensor, k: Tensor, kept: Sequence[Kept]
    ) -> tuple[Tensor, Kept]:
        """x: (B, in_channels, H, W); c: (B, C), as `DiT.conditioned` takes it; k: (1,); kept: of
        the last `num_kept` full passes, the latest first, or nothing for a full pass ->
        (B, 2 in_channels, H, W), and what is to be kept of a full pass."""
        *modulations, final = model.modulations(c)
        x, to_keep = model.tokens(x), ()
        if kept:
            values = tuple(self.predicted(k, *each) for each in zip(*kept, strict=True))
            x = self.values.applied(model, x, modulations, values)
        else:
            x, to_keep = self.values.computed(model, x, modulations)
        return model.prediction(x, final), to_keep

    def kept_of_image(self, model: DiT) -> list[Kept]:
        """Zeros in the place of all that is kept of one image in one pass a step, float32."""
        return [zeros(model, self.values.count(model)) for _ in range(self.num_kept)]

    def bytes_per_image(self, model: DiT) -> int:
        """Of `kept_of_image`."""
        return sum(each.nbytes for kept in self.kept_of_image(model) for each in kept)

    def cached_pass(self, model: DiT) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """A cached pass of one image as a function of its latent, timestep and class."""
        kept, k = self.kept_of_image(model), torch.zeros(1, dtype=torch.int64)

        def predict(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return self(model, x, model.embedding(t, y), k, kept)[0]

        return predict


def places(is_guided: np.ndarray) -> np.ndarray:
    """Of each step k, how many come before it in its stretch of equal guidance: (K,)."""
    in_order = is_guided[::-1]  # sampling begins at the last k
    done = np.arange(len(in_order))
    begins = np.append(True, in_order[1:] != in_order[:-1])
    return (done - np.maximum.accumulate(done * begins))[::-1]
