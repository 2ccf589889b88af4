"""What linear multistep samplers share: the weights of each step, and sums by them."""

import numpy as np
import torch
from torch import Tensor

from slimdit.diffusion.process import Diffusion


class Steps:
    """The steps of a chain in lambda = log(alpha / sigma), where alpha^2 = alpha_bar and sigma^2 =
    1 - alpha_bar: float64 (K,), at k the step from x_k to x_{k-1}. The last one, at 0, ends at
    alpha 1 and sigma 0.

    Attributes: length, h = lambda_{k-1} - lambda_k, infinite at k = 0. of_x, sigma_{k-1} / sigma_k.
    of_x0, alpha_{k-1} (1 - e^-h).
    """

    def __init__(self, alpha_bar: np.ndarray):
        alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        self.length = np.append(np.inf, -np.diff(np.log(alpha / sigma)))
        self.of_x = np.append(0.0, sigma[:-1]) / sigma
        self.of_x0 = np.append(1.0, alpha[:-1]) - self.of_x * alpha


class LinearMultistep:
    """A deterministic sampler: x_{k-1} is a sum of x_k, of the x0 predicted at x_k and of those of
    the steps before, by weights that only the noise levels determine.

    From lambda_k to lambda_{k-1}, x / sigma grows by the integral of e^lambda x0 (Lu et al.,
    "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    arXiv:2211.01095, Prop. 4.1). With x0 constant over a step that is DDIM with eta = 0, of first
    order.

    A subclass says in `tables` what its weights are and in `step` what they are of.
    """

    needs_noise = False
    needs_variance = False

    def __init__(self, diffusion: Diffusion):
        self.diffusion = diffusion
        tables = self.tables(Steps(diffusion.exact_alpha_bar))
        self.weights = {
            name: torch.from_numpy(table).to(diffusion.alpha_bar) for name, table in tables.items()
        }

    def tables(self, steps: Steps) -> dict[str, np.ndarray]:
        """By name, the weights of the n terms of a sum at each step: float64 (K, n)."""
        raise NotImplementedError

    def weighted(self, name: str, k: Tensor, *terms: Tensor) -> Tensor:
        """The sum of n terms (B, C, H, W) by the named weights of steps k, (1,) or (B,)."""
        first, *others = self.weights[name][k].T.reshape(len(terms), -1, 1, 1, 1)
        total = first * terms[0]
        for weight, term in zip(others, terms[1:], strict=True):
            total = torch.addcmul(total, weight, term)
        return total
