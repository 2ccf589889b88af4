"""Models of velocities at the steps of a chain of noise: Ma et al., "SiT: Exploring Flow and
Diffusion-based Generative Models with Scalable Interpolant Transformers", arXiv:2401.08740."""

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.diffusion.process import Diffusion


class VelocitySteps(nn.Module):
    """What a model of velocities is given at each step, and the noise that its answer means.

    It knows the path (1 - s) x0 + s eps, s from 0 to 1, whose velocity in s is eps - x0. A state
    alpha x0 + sigma eps of the chain is alpha + sigma times the path at s = sigma / (alpha +
    sigma), and eps is the point on it and (1 - s) times the velocity.

    Args:
        toward: "noise": the model takes s and gives this velocity (as REPA has it, arXiv:
            2410.06940). "data": it takes 1 - s and gives x0 - eps (as SiT's own code has it).

    Attributes: times, float32 (K,), what the model takes as the timestep of step k.
    """

    def __init__(self, diffusion: Diffusion, toward: str):
        super().__init__()
        alpha = np.sqrt(diffusion.exact_alpha_bar)
        sigma = np.sqrt(1 - diffusion.exact_alpha_bar)
        s, sign = sigma / (alpha + sigma), {"noise": 1, "data": -1}[toward]
        times = s if toward == "noise" else 1 - s
        self.register_buffer("times", torch.from_numpy(times).float())
        self.register_buffer("scale", torch.from_numpy(1 / (alpha + sigma)).float())
        self.register_buffer("part", torch.from_numpy(sign * (1 - s)).float())

    def point(self, x: Tensor, k: Tensor) -> Tensor:
        """On the path, of x (B, C, H, W) at step k, (1,)."""
        return x * self.scale[k].view(-1, 1, 1, 1)

    def noise(self, point: Tensor, velocity: Tensor, k: Tensor) -> Tensor:
        """(B, C, H, W)."""
        return point + self.part[k].view(-1, 1, 1, 1) * velocity
