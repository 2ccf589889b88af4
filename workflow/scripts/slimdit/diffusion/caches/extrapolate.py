"""Extrapolation along a line through the last two full steps: the first order of Liu et al., "From
Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv:2503.06923."""

from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.caches.regular import Regular


class Extrapolate(Regular):
    """F(s) = F(s1) + (s - s1) / (s1 - s2) (F(s1) - F(s2)), s1 the last full step and s2 the one
    before: j / every for the j-th step after s1, as the paper has it, once these two are `every`
    steps apart; the first two follow each other.

    Args:
        along: what F is a line in: the number of the step, or lambda = log(alpha / sigma).
    """

    num_kept = 2

    def __init__(
        self,
        lambdas: np.ndarray,
        is_guided: np.ndarray,
        every: Annotated[int, AtLeast(2), AtMost("steps - 1")] = 2,
        of: Literal["blocks", "stack"] = "blocks",
        along: Literal["steps", "lambda"] = "steps",
    ):
        super().__init__(lambdas, is_guided, every, of)
        s = lambdas if along == "lambda" else -np.arange(len(lambdas))
        ratio, full = np.zeros(len(s)), np.flatnonzero(self.is_full)
        for k in np.flatnonzero(~self.is_full):
            last, before = full[full > k][:2]
            ratio[k] = (s[k] - s[last]) / (s[last] - s[before])
        self.register_buffer("ratio", torch.from_numpy(ratio).float(), persistent=False)

    def predicted(self, k: Tensor, *kept: Tensor) -> Tensor:
        """On the line, (B, N, C)."""
        last, before = kept
        return last + self.ratio[k] * (last - before)
