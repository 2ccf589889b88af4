"""What a step of sampling asks of the models: the noise as one predicts it, or guided by another
prediction, which a step outside of an interval does without."""

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.precision import autocast
from slimdit.diffusion.process import Diffusion, alpha_bars
from slimdit.diffusion.timesteps import chosen_timesteps
from slimdit.models.component import store_by_precision
from slimdit.models.dit import DiT


class Denoiser:
    """A model's predictions at the steps of a chain. Its weights are converted in place to the type
    that `chosen_dtype` reads from `precision`."""

    def __init__(self, model: DiT, diffusion: Diffusion, precision: str, device: torch.device):
        self.model, self.device = model.to(device).eval(), device
        with torch.inference_mode():
            self.timesteps = self.model.timestep_embedder(diffusion.timesteps)  # (K, C)
        self.dtype = store_by_precision(self.model, precision, device)

    def classes(self, y: Tensor) -> Tensor:
        """Embeddings of classes, (B,) -> (B, C)."""
        return self.model.label_embedder(y)

    def __call__(self, x: Tensor, k: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, C, H, W); k: (1,); classes: embeddings (B, C) -> noise and variance, float32."""
        with autocast(self.device, self.dtype):
            output = self.model.conditioned(x, self.timesteps[k] + classes).output
        return output.float().chunk(2, dim=1)


class Guidance:
    """weak + scale (strong - weak), of the first `guided_channels` of the noise.

    strong: the model's prediction for the class. weak: its prediction for the null class (Ho &
    Salimans, "Classifier-Free Diffusion Guidance", arXiv:2207.12598), in one pass with the other;
    or that of a worse model, the guide, for the class (Karras et al., "Guiding a Diffusion Model
    with a Bad Version of Itself", arXiv:2406.02507).
    """

    def __init__(self, denoiser: Denoiser, guide: Denoiser | None, scale: float, channels: int):
        self.denoiser, self.guide = denoiser, guide
        self.scale, self.channels = scale, channels

    def classes(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the classes (B,) for the strong prediction and for the weak one."""
        if self.guide:
            return self.denoiser.classes(y), self.guide.classes(y)
        null = torch.full_like(y, self.denoiser.model.null_class)
        return self.denoiser.classes(y), self.denoiser.classes(null)

    def __call__(
        self, x: Tensor, k: Tensor, classes: tuple[Tensor, Tensor], is_guided: bool
    ) -> tuple[Tensor, Tensor]:
        """x: (B, C, H, W); k: (1,) -> noise and variance."""
        own, others = classes
        if not is_guided:
            return self.denoiser(x, k, own)
        if self.guide:
            (strong, v), (weak, _) = self.denoiser(x, k, own), self.guide(x, k, others)
        else:
            both, v = self.denoiser(x.repeat(2, 1, 1, 1), k, torch.cat(classes))
            (strong, weak), v = both.chunk(2), v.chunk(2)[0]
        guided = weak + self.scale * (strong - weak)
        return torch.cat([guided[:, : self.channels], strong[:, self.channels :]], dim=1), v


def guided_steps(sampling: dict, num_timesteps: int) -> np.ndarray:
    """Of each step k, whether it is guided: bool (K,).

    With sampling["guidance_interval"], (low, high), only where low < sigma / alpha <= high
    (Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution
    Quality in Diffusion Models", arXiv:2404.07724).
    """
    kept = chosen_timesteps(sampling["timesteps"], num_timesteps, sampling["steps"])
    alpha_bar = alpha_bars(num_timesteps)[kept]
    noise_levels = np.sqrt((1 - alpha_bar) / alpha_bar)
    low, high = sampling["guidance_interval"] or (0.0, np.inf)
    is_within = (low < noise_levels) & (noise_levels <= high)
    return is_within & (sampling["guidance_scale"] != 1.0)


def num_passes(sampling: dict, num_timesteps: int) -> tuple[int, int]:
    """Passes for an image: of the model, one a step and without a guide another one for each guided
    step, and of the guide."""
    num_steps, num_guided = sampling["steps"], int(guided_steps(sampling, num_timesteps).sum())
    return (num_steps, num_guided) if sampling["guide"] else (num_steps + num_guided, 0)
