"""Reuse with full steps that are named one by one, as masks are published."""

from typing import Annotated, Literal

import numpy as np
from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.caches.step_cache import StepCache, places


class Listed(StepCache):
    """What the last full step gave, at the steps that are not listed.

    Args:
        full_steps: how many steps come before each; the first one, and the first with other
            guidance than the step before, are full unnamed.
        of: what is kept, a key of BLOCK_VALUES.
    """

    num_kept = 1

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        full_steps: list[Annotated[int, AtLeast(0), AtMost("steps - 1")]],
        of: Literal["blocks", "stack"] = "blocks",
    ):
        is_listed = np.isin(np.arange(len(is_guided)), full_steps)[::-1]
        super().__init__(is_listed | (places(is_guided) == 0), of)

    def predicted(self, k: Tensor, *kept: Tensor) -> Tensor:
        """As it was, (B, N, C)."""
        return kept[0]
