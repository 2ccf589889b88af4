"""The posterior's mean, with some of its noise."""

from typing import Annotated

from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.diffusion.process import Diffusion


class Mean:
    num_carried = 0

    def __init__(self, diffusion: Diffusion, noise: Annotated[float, AtLeast(0), AtMost(1)]):
        self.diffusion, self.noise = diffusion, noise
        self.needs_noise = noise > 0

    def step(
        self, x: Tensor, k: Tensor, eps: Tensor, v: Tensor, noise: Tensor | None
    ) -> tuple[Tensor]:
        """x, eps, noise: (B, C, H, W); k: (B,) -> x_{k-1}."""
        mean = self.diffusion.posterior_mean(self.diffusion.predicted_x0(x, k, eps), x, k)
        return (mean + self.noise * noise if self.needs_noise else mean,)
