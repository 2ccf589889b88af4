"""Song et al., "Denoising Diffusion Implicit Models", arXiv:2010.02502."""

from typing import Annotated

from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.process import Diffusion


class DDIM:
    """sqrt(a_prev) x0_hat + sqrt(1 - a_prev - sigma^2) eps + sigma noise (Eq. 12).

    Args:
        eta: sigma is eta times what DDPM's posterior has (Eq. 16); with 0 there is no noise.
    """

    num_carried = 0
    needs_variance = False

    def __init__(self, diffusion: Diffusion, eta: Annotated[float, AtLeast(0), AtMost(1)] = 0.0):
        self.diffusion, self.eta = diffusion, eta
        self.needs_noise = eta > 0

    def step(
        self, x: Tensor, k: Tensor, eps: Tensor, v: Tensor, noise: Tensor | None
    ) -> tuple[Tensor]:
        """x, eps, noise: (B, C, H, W); k: (B,) -> x_{k-1}. The learned variance v is not used."""
        alpha_bar = self.diffusion.at("alpha_bar", k)
        previous = self.diffusion.at("alpha_bar_previous", k)
        x0 = self.diffusion.predicted_x0(x, k, eps)
        if not self.needs_noise:
            return (previous.sqrt() * x0 + (1 - previous).sqrt() * eps,)
        variance = self.eta**2 * (1 - previous) / (1 - alpha_bar) * (1 - alpha_bar / previous)
        direction = (1 - previous - variance).clamp(min=0).sqrt()
        return (previous.sqrt() * x0 + direction * eps + variance.sqrt() * noise,)
