"""What caches share: which steps compute all blocks, and the passes of both kinds of steps."""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.caches.block_values import BLOCK_VALUES, Kept, zeros
from slimdit.models.dit import DiT


class StepCache(nn.Module):
    """Full passes, which compute all blocks, and cached passes, which take what the blocks would
    give from the last full ones.

    In each stretch of steps that are guided alike the first `num_kept` are full, since a second
    prediction that begins or ends makes batches of another size, and every `every`-th from the last
    of these is. A cached pass still has all that is outside of the blocks, and gates of its own
    timestep.

    Args:
        every: steps from one full one to the next.
        of: what is kept, a key of BLOCK_VALUES.

    Attributes: is_full, of each step k, bool (K,).
    """

    num_kept: ClassVar[int]  # of how many full steps

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        every: Annotated[int, AtLeast(2), AtMost("steps")] = 2,
        of: Literal["blocks", "stack"] = "blocks",
    ):
        super().__init__()
        self.values = BLOCK_VALUES[of]
        behind_the_first = places(is_guided) - (self.num_kept - 1)
        self.is_full = (behind_the_first < 0) | (behind_the_first % every == 0)

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
