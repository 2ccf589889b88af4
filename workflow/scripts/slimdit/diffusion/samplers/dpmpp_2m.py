"""Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
arXiv:2211.01095."""

import numpy as np
from torch import Tensor

from slimdit.diffusion.samplers.linear_multistep import LinearMultistep, Steps


class DPMpp2M(LinearMultistep):
    """DPM-Solver++(2M), of second order (Algorithm 2): x0 goes on as it went from the step before.

    The first step, and the last one into sigma 0, are of first order.
    """

    num_carried = 1

    def tables(self, steps: Steps) -> dict[str, np.ndarray]:
        return {"predictor": predictor(steps)}

    def step(
        self, x: Tensor, k: Tensor, eps: Tensor, v: Tensor, noise: None, x0_before: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x, eps, x0_before: (B, C, H, W); k: (B,) -> x_{k-1}, x0. v is not used."""
        x0 = self.diffusion.predicted_x0(x, k, eps)
        return self.weighted("predictor", k, x, x0, x0_before), x0


def predictor(steps: Steps) -> np.ndarray:
    """Of x, of x0 and of the x0 before: (K, 3)."""
    half_ratio = np.zeros_like(steps.length)  # h / (2 h of the step before); 0: first order
    half_ratio[1:-1] = steps.length[1:-1] / (2 * steps.length[2:])
    return np.stack([steps.of_x, steps.of_x0 * (1 + half_ratio), -steps.of_x0 * half_ratio], axis=1)
