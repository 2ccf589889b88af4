"""Between nothing and what the last full step gave."""

from typing import Annotated, Literal

import numpy as np
from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.caches.regular import Regular


class Halfway(Regular):
    num_kept = 1

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        part: Annotated[float, AtLeast(0), AtMost(1)],
        every: Annotated[int, AtLeast(2), AtMost("steps")] = 2,
        of: Literal["blocks", "stack"] = "blocks",
    ):
        super().__init__(lambdas, is_guided, every, of)
        self.part = part

    def predicted(self, k: Tensor, *kept: Tensor) -> Tensor:
        """(B, N, C)."""
        return self.part * kept[0]
