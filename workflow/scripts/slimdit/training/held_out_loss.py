"""The denoising error on images that were never trained on."""

import numpy as np
import torch

from slimdit.compute.devices import to_device
from slimdit.compute.precision import autocast
from slimdit.core.randomness import stream
from slimdit.data.latents import MEAN, STD, LatentCache
from slimdit.diffusion.process import Diffusion
from slimdit.models.dit import DiT

DRAWS = ("posterior", "noise")


@torch.inference_mode()
def held_out_losses(
    model: DiT,
    cache: LatentCache,
    num_draws: int,
    num_timesteps: int,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> np.ndarray:
    """Mean squared error of the predicted noise, of each image of the cache (N,) float64.

    Each image is noised `num_draws` times, at a random timestep of each of as many equal parts of
    the `num_timesteps`, and the model is told its class. Image i is drawn alike for every model, so
    that models form pairs. batch_size: of images noised once.
    """
    diffusion = Diffusion(num_timesteps).to(device)
    shift, scale = (
        torch.tensor(cache.manifest[key], device=device).view(-1, 1, 1)
        for key in ("shift", "scale")
    )
    losses = np.empty(len(cache.labels))
    num_images = max(batch_size // num_draws, 1)
    for start in range(0, len(losses), num_images):
        rows = np.arange(start, min(start + num_images, len(losses)))
        moments = to_device(cache.moments[rows, 0].repeat(num_draws, 0), device).float()
        timesteps, draws = zip(
            *(_drawn(row, num_draws, num_timesteps, moments.shape[2:]) for row in rows), strict=True
        )
        k = to_device(np.concatenate(timesteps), device)
        posterior, noise = (
            to_device(np.concatenate(each), device) for each in zip(*draws, strict=True)
        )
        x0 = (moments[:, MEAN] + moments[:, STD] * posterior - shift) * scale
        y = to_device(cache.labels[rows].repeat(num_draws), device)
        with autocast(device, dtype):
            output = model(diffusion.add_noise(x0, k, noise), k, y).output.float()
        error = (output.chunk(2, dim=1)[0] - noise).square().flatten(1).mean(1)
        losses[rows] = error.double().view(-1, num_draws).mean(1).cpu().numpy()
    return losses


def _drawn(row: int, num_draws: int, num_timesteps: int, shape: tuple[int, ...]):
    """Of one image: timesteps (J,), and posterior and noise (J, C, H, W) float32."""
    places = np.arange(num_draws) + stream(0, "held-out/timestep", int(row)).random(num_draws)
    timesteps = (places * num_timesteps / num_draws).astype(np.int64)
    return timesteps, [
        stream(0, f"held-out/{what}", int(row)).standard_normal((num_draws, *shape), np.float32)
        for what in DRAWS
    ]
