"""Ho et al., "Denoising Diffusion Probabilistic Models", arXiv:2006.11239."""

import torch
from torch import Tensor

from slimdit.diffusion.process import Diffusion


class DDPM:
    """Ancestral sampling (Algorithm 2), with the learned variance of Nichol & Dhariwal, "Improved
    Denoising Diffusion Probabilistic Models", arXiv:2102.09672, Eq. 15."""

    needs_noise = True
    needs_variance = True
    num_carried = 0

    def __init__(self, diffusion: Diffusion):
        self.diffusion = diffusion

    def step(self, x: Tensor, k: Tensor, eps: Tensor, v: Tensor, noise: Tensor) -> tuple[Tensor]:
        """x, eps, v, noise: (B, C, H, W); k: (B,) -> x_{k-1}; at k = 0 no noise is added."""
        mean = self.diffusion.posterior_mean(self.diffusion.predicted_x0(x, k, eps), x, k)
        deviation = (0.5 * self.diffusion.log_variance(v, k)).exp()
        return (torch.where(k.view(-1, 1, 1, 1) == 0, mean, mean + deviation * noise),)
