"""What the small autoencoder of a study is, learns from and is judged by."""

import numpy as np
import torch

from slimdit.core.randomness import stream
from slimdit.data.autoencoders import to_model_range, to_uint8

TERMS = ("loss", "mse", "kl")
EVALUATION_BATCH_SIZE = 64


def build_autoencoder(channels, latent_channels, image_size, seed):
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=image_size,
    )
    return model.to(memory_format=torch.channels_last)


def divergence(posterior):
    """KL divergence from a standard normal, (C,): nats of an element, mean over the others."""
    elements = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar)
    return elements.mean(dim=(0, 2, 3))


def draw_crops(pictures, options, step):
    """The crops of a step, uint8 (B, crop_size, crop_size, 3)."""
    size = options["crop_size"]
    random = stream(options["seed"], "crop", step)
    rows = random.integers(0, len(pictures), options["batch_size"])
    tops, lefts = random.integers(0, pictures.shape[1] - size + 1, (2, options["batch_size"]))
    return np.stack(
        [
            pictures[row, top : top + size, left : left + size]
            for row, top, left in zip(rows, tops, lefts, strict=True)
        ]
    )


def peak_signal_to_noise(model, pictures, on) -> float:
    """Mean over images of 10 log10(255^2 / MSE) of what comes back, in dB."""
    values = []
    with torch.inference_mode():
        for start in range(0, len(pictures), EVALUATION_BATCH_SIZE):
            batch = pictures[start : start + EVALUATION_BATCH_SIZE]
            latents = model.encode(to_model_range(batch, on)).latent_dist.mean
            restored = to_uint8(model.decode(latents).sample).cpu().numpy()
            error = (restored.astype(np.float64) - batch) ** 2
            values += list(10 * np.log10(255**2 / error.mean(axis=(1, 2, 3))))
    return float(np.mean(values))
