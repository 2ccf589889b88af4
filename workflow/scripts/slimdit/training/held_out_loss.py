"""The denoising error on images that were never trained on."""

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.devices import to_device
from slimdit.compute.precision import autocast
from slimdit.core.randomness import stream
from slimdit.data.latents import UNFLIPPED, LatentCache, Units
from slimdit.diffusion.process import Diffusion


@torch.inference_mode()
def held_out_losses(
    model,
    cache: LatentCache,
    num_draws: int,
    num_timesteps: int,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> np.ndarray:
    """Mean squared error of the predicted noise, of each image of `cache`: (N,) float64.

    Each is noised `num_draws` times, at a random timestep of each of as many equal parts of the
    `num_timesteps`, and the model is told its class. Image i is drawn alike for every model, so
    that models form pairs. batch_size: of noised images.
    """
    diffusion, units = Diffusion(num_timesteps).to(device), Units(cache.manifest, device)
    losses = np.empty(len(cache.labels))
    num_images = max(batch_size // num_draws, 1)
    for start in range(0, len(losses), num_images):
        rows = np.arange(start, min(start + num_images, len(losses)))
        moments = to_device(cache.moments[rows, UNFLIPPED], device).float()
        moments = moments.repeat_interleave(num_draws, 0)  # (B, 2, C, h, w)
        k, posterior, noise = (
            to_device(array, device)
            for array in drawn(rows, num_draws, num_timesteps, moments.shape[2:])
        )
        x0 = units.sample(moments, posterior)
        y = to_device(cache.labels[rows].repeat(num_draws), device)
        error = squared_error(model, diffusion.add_noise(x0, k, noise), k, y, noise, dtype)
        losses[rows] = error.double().view(-1, num_draws).mean(1).cpu().numpy()
    return losses


def squared_error(model, xt: Tensor, k: Tensor, y: Tensor, noise: Tensor, dtype) -> Tensor:
    """Of the noise that the model predicts of xt, the mean over each image: (B,)."""
    with autocast(xt.device, dtype):
        output = model(xt, k, y).output.float()  # (B, 2C, H, W)
    return (output.chunk(2, dim=1)[0] - noise).square().flatten(1).mean(1)


def stratified_timesteps(count: int, num_timesteps: int, random: np.random.Generator) -> np.ndarray:
    """One of each of `count` equal parts of the timesteps, in order, int64 (count,)."""
    places = np.arange(count) + random.random(count)
    return (places * num_timesteps / count).astype(np.int64)


def drawn(
    rows: np.ndarray, num_draws: int, num_timesteps: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Timesteps (B,), posterior and noise (B, *shape) float32: image by image."""
    timesteps, posterior, noise = [], [], []
    for row in map(int, rows):
        timestep = stream(0, "held-out/timestep", row)
        timesteps.append(stratified_timesteps(num_draws, num_timesteps, timestep))
        for what, draws in (("posterior", posterior), ("noise", noise)):
            random = stream(0, f"held-out/{what}", row)
            draws.append(random.standard_normal((num_draws, *shape), np.float32))
    return np.concatenate(timesteps), np.concatenate(posterior), np.concatenate(noise)
