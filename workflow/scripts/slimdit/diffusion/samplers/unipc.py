"""Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion
Models", arXiv:2302.04867."""

import numpy as np
from torch import Tensor

from slimdit.diffusion.samplers.dpmpp_2m import predictor
from slimdit.diffusion.samplers.linear_multistep import LinearMultistep, Steps


class UniPC(LinearMultistep):
    """UniPC-2 with B(h) = e^h - 1 (bh2) for the data prediction: DPM-Solver++(2M) as predictor, and
    a corrector (Algorithm 1) that redoes the step before with the x0 that is predicted at its end,
    so that a step is still one pass of the model.
    """

    num_carried = 3

    def tables(self, steps: Steps) -> dict[str, np.ndarray]:
        return {"predictor": predictor(steps), "corrector": corrector(steps)}

    def step(
        self,
        x: Tensor,
        k: Tensor,
        eps: Tensor,
        v: Tensor,
        noise: None,
        start: Tensor,
        x0_before: Tensor,
        x0_two_before: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All (B, C, H, W), start the corrected x_{k+1}; k: (B,) -> x_{k-1}, the corrected x_k, x0,
        x0_before. v is not used."""
        x0 = self.diffusion.predicted_x0(x, k, eps)
        corrected = self.weighted("corrector", k, x, start, x0, x0_before, x0_two_before)
        return self.weighted("predictor", k, corrected, x0, x0_before), corrected, x0, x0_before


def corrector(steps: Steps) -> np.ndarray:
    """Of the predicted x, of x at the start of the step to it, and of the x0 at its end, at its
    start and before: (K, 5). There is nothing to correct at the first step; the correction of that
    step itself is of first order.
    """
    h, of_x0 = steps.length[1:], steps.of_x0[1:]  # of the step to k
    # Theorem 3.1's two equations for the weights of the differences to the x0 at the start.
    right_1 = 1 / -np.expm1(-h) - 1 / h
    right_2 = 1 / -np.expm1(-h) - 2 * right_1 / h
    ratio = np.append(h[1:], np.inf) / h  # of the step before to it
    before = (right_1 - right_2) / (1 + ratio)
    end = right_1 - before
    end[-1:] = 0.5

    weights = np.zeros((len(steps.length), 5))
    weights[-1, 0] = 1.0
    weights[:-1, 1] = steps.of_x[1:]
    weights[:-1, 2] = of_x0 * end
    weights[:-1, 3] = of_x0 * (1 - end + before / ratio)
    weights[:-1, 4] = -of_x0 * before / ratio
    return weights
