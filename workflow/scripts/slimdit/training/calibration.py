"""The loss on a few training latents, for compressions that measure what they change."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.compute.devices import to_device
from slimdit.core.randomness import stream
from slimdit.data.latents import UNFLIPPED, LatentCache, Units
from slimdit.diffusion.process import Diffusion
from slimdit.training.held_out_loss import squared_error, stratified_timesteps

NUM_IMAGES = 256
PART_SIZE = 32  # images whose gradients are computed at once


class CalibrationLoss:
    """The mean squared error of the noise that a model predicts, always on the same batch.

    It has NUM_IMAGES random images (or all, of fewer) with their classes, each noised at a random
    timestep of one of as many equal parts of the `num_timesteps`.
    """

    def __init__(self, cache: LatentCache, num_timesteps: int, device: torch.device):
        random = stream(0, "calibration")
        rows = random.permutation(len(cache.labels))[:NUM_IMAGES]
        timesteps = stratified_timesteps(len(rows), num_timesteps, random)
        shape = (len(rows), *cache.moments.shape[3:])
        posterior, noise = (random.standard_normal(shape, np.float32) for _ in range(2))
        moments, y, k, posterior, noise = (
            to_device(array, device)
            for array in (
                cache.moments[rows, UNFLIPPED].astype(np.float32),  # (B, 2, C, H, W)
                cache.labels[rows],
                timesteps,
                posterior,
                noise,
            )
        )
        x0 = Units(cache.manifest, device).sample(moments, posterior)  # (B, C, H, W)
        xt = Diffusion(num_timesteps).to(device).add_noise(x0, k, noise)
        self.batch = xt, k, y, noise

    @torch.inference_mode()
    def predictions(self, model: nn.Module) -> Tensor:
        """The noise that the model predicts, (B, C, H, W)."""
        xt, k, y, _ = self.batch
        return model(xt, k, y).output.float().chunk(2, dim=1)[0]

    @property
    def timesteps(self) -> Tensor:
        """Of each image, (B,)."""
        return self.batch[1]

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> float:
        return squared_error(model, *self.batch, torch.float32).double().mean().item()

    def of_images(self, model: nn.Module) -> Iterator[Tensor]:
        """Of each image, PART_SIZE at a time, (B,), as the gradient mode says with gradients."""
        parts = zip(*(each.split(PART_SIZE) for each in self.batch), strict=True)
        return (squared_error(model, *part, torch.float32) for part in parts)
