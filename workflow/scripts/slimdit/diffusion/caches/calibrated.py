"""Reuse at steps where a model's own blocks were found to change little: Liu et al., "SmoothCache:
A Universal Inference Acceleration Technique for Diffusion Transformers", arXiv:2411.10510."""

from typing import Annotated, Literal

import numpy as np

from slimdit.core.options import AtLeast
from slimdit.diffusion.caches.block_values import Kept
from slimdit.diffusion.caches.listed import Listed

TINY = 1e-12  # in the place of no values at all


class Calibrated(Listed):
    """All steps are full, while errors are measured; what samples then is as `options` says.

    After a full step those are cached whose error, of what it gave in the place of what they give,
    is at most `max_error`, up to the first that has more or to the `longest`-th; the last step of
    all is full. The paper judges attention and MLP each on its own; here a step is full or cached
    as a whole, by the larger error of the two.

    Args:
        max_error: the paper's alpha, relative.
        longest: cached steps between full ones.
        of: what is kept, a key of BLOCK_VALUES.
    """

    is_calibrated = True

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        max_error: Annotated[float, AtLeast(0)],
        longest: Annotated[int, AtLeast(1)] = 3,
        of: Literal["blocks", "stack"] = "blocks",
    ):
        super().__init__(lambdas, is_guided, list(range(len(is_guided))), of)
        self.is_guided, self.max_error, self.longest, self.of = is_guided, max_error, longest, of

    def options(self, errors: np.ndarray) -> dict:
        """Of the cache that samples, {"name": "listed", ...}.

        errors: (K, longest), of the step with so many before it, by what each of so many steps
        before it gave, the latest first; NaN where that had other guidance.
        """
        num_steps, full_steps = len(errors), [0]
        for step in range(1, num_steps):
            distance = step - full_steps[-1]
            is_near = distance <= self.longest and errors[step, distance - 1] <= self.max_error
            if not is_near or step == num_steps - 1:
                full_steps.append(step)
        return {"name": "listed", "full_steps": full_steps, "of": self.of}


def relative_error(kept: Kept, earlier: Kept) -> float:
    """How far what a pass gave is from what an earlier one gave: the sum of absolute differences
    over that of the values, its mean over blocks, and the larger of attention and MLP."""
    errors = [
        float((own - other).float().abs().sum() / own.float().abs().sum().clamp_min(TINY))
        for own, other in zip(kept, earlier, strict=True)
    ]
    kinds = [errors[::2], errors[1::2]]
    return max(float(np.mean(each)) for each in kinds if each)
