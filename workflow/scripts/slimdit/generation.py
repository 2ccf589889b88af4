"""Latents from noise: image i depends on (seed, i, its label) alone, not on its batch."""

import numpy as np
import torch
from torch import Tensor

from slimdit.backbone import DiT
from slimdit.diffusion import Diffusion
from slimdit.errors import InputError
from slimdit.randomness import stream
from slimdit.samplers import SAMPLERS


def labels_for(num_samples: int, num_classes: int, mode: str, seed: int) -> np.ndarray:
    """Class of each image, int64: `balanced` takes turns, `random` draws uniformly."""
    if mode == "balanced":
        return np.arange(num_samples) % num_classes
    return stream(seed, "labels").integers(0, num_classes, num_samples)


def noise_for(seed: int, what: str, indices: np.ndarray, shape: tuple[int, ...], *k: int) -> Tensor:
    """One stream an image: (len(indices), *shape) float32."""
    draws = [stream(seed, what, int(i), *k).standard_normal(shape, np.float32) for i in indices]
    return torch.from_numpy(np.stack(draws))


class Generator:
    """Samples latents from a model.

    Args:
        sampling: {"sampler", "steps", "guidance_scale", "guided_channels", "seed", and the
            sampler's own options under "options"}. guided_channels is "all", or how many of the
            first channels are guided (DiT's sampler guides 3).
        num_timesteps: of the training's diffusion.
    """

    def __init__(self, model: DiT, sampling: dict, num_timesteps: int, device: torch.device):
        self.model, self.device = model.to(device).eval(), device
        self.seed = sampling["seed"]
        self.scale = float(sampling["guidance_scale"])
        channels = sampling["guided_channels"]
        self.guided_channels = model.in_channels if channels == "all" else int(channels)
        if self.guided_channels > model.in_channels:
            raise InputError(
                f"sampling.guided_channels {channels} is more than the latent's "
                f"{model.in_channels} channels."
            )
        diffusion = Diffusion(num_timesteps, sampling["steps"]).to(device)
        self.diffusion = diffusion
        self.sampler = SAMPLERS[sampling["sampler"]](diffusion, **sampling.get("options", {}))

    @torch.inference_mode()
    def latents(
        self, indices: np.ndarray, labels: np.ndarray, stream_name: str = "image"
    ) -> Tensor:
        """Images `indices` of classes `labels` -> (B, C, H, W) float32 on the device."""
        model = self.model
        shape = (model.in_channels, model.input_size, model.input_size)
        x = noise_for(self.seed, f"{stream_name}/start", indices, shape).to(self.device)
        y = torch.as_tensor(labels, device=self.device)
        for step in reversed(range(self.diffusion.num_steps)):
            k = torch.full((len(indices),), step, device=self.device)
            eps, v = self.guided(x, self.diffusion.timesteps[k], y)
            noise = None
            if self.sampler.needs_noise:
                name = f"{stream_name}/step"
                noise = noise_for(self.seed, name, indices, shape, step).to(self.device)
            x = self.sampler.step(x, k, eps, v, noise)
        return x

    def guided(self, x: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Noise with classifier-free guidance, null + scale (class - null), and the variance."""
        if self.scale == 1.0:
            return self.model(x, t, y).output.float().chunk(2, dim=1)
        null = torch.full_like(y, self.model.null_class)
        output = self.model(x.repeat(2, 1, 1, 1), t.repeat(2), torch.cat([y, null])).output.float()
        eps, v = output.chunk(2, dim=1)
        conditional, unconditional = eps.chunk(2)
        guided = unconditional + self.scale * (conditional - unconditional)
        eps = torch.cat(
            [guided[:, : self.guided_channels], conditional[:, self.guided_channels :]], dim=1
        )
        return eps, v.chunk(2)[0]
