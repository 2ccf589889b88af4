"""Caches whose full steps are equally far apart."""

from typing import Annotated, Literal

import numpy as np

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.caches.step_cache import StepCache, places


class Regular(StepCache):
    """In each stretch of steps that are guided alike the first `num_kept` are full, and every
    `every`-th from the last of these.

    Args:
        every: steps from one full one to the next.
        of: what is kept, a key of BLOCK_VALUES.
    """

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        every: Annotated[int, AtLeast(2), AtMost("steps")] = 2,
        of: Literal["blocks", "stack"] = "blocks",
    ):
        behind_the_first = places(is_guided) - (self.num_kept - 1)
        super().__init__((behind_the_first < 0) | (behind_the_first % every == 0), of)
