"""Reuse of what the last full step gave: Selvaraju et al., "FORA: Fast-Forward Caching in Diffusion
Transformer Acceleration", arXiv:2407.01425."""

from torch import Tensor

from slimdit.diffusion.caches.regular import Regular


class Reuse(Regular):
    """F(k + j) = F(k) for j < every."""

    num_kept = 1

    def predicted(self, k: Tensor, *kept: Tensor) -> Tensor:
        """As it was, (B, N, C)."""
        return kept[0]
