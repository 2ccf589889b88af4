"""Images to latents and back through any autoencoder that diffusers can load."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimdit.errors import InputError

CLASSES = ("AutoencoderKL", "AutoencoderTiny")


def load_autoencoder(source: str | Path, revision: str | None, device: torch.device):
    """A local folder in diffusers' layout, or a hub name with a pinned revision; frozen.

    Raises InputError when the folder holds no known autoencoder, or a hub name has no revision.
    """
    import diffusers

    folder = Path(source)
    if folder.is_dir():
        try:
            name = json.loads((folder / "config.json").read_text())["_class_name"]
        except (OSError, ValueError, KeyError):
            raise InputError(
                f"{folder} is not an autoencoder in diffusers' layout; it needs a config.json with "
                "_class_name and a diffusion_pytorch_model.safetensors."
            ) from None
        options = {}
    else:
        if not revision:
            raise InputError(
                f"autoencoder.revision is missing; pin the commit of {source} on the hub."
            )
        name = diffusers.AutoencoderKL.load_config(source, revision=revision)["_class_name"]
        options = {"revision": revision}
    if name not in CLASSES:
        raise InputError(f"autoencoder {source} is a {name}; known: {', '.join(CLASSES)}.")
    model = getattr(diffusers, name).from_pretrained(source, use_safetensors=True, **options)
    return model.to(device).eval().requires_grad_(False)


def to_model_range(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    return x.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def to_uint8(x: Tensor) -> np.ndarray:
    """float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    return x.float().mul(127.5).add(128).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.inference_mode()
def encode_moments(autoencoder, x: Tensor) -> Tensor:
    """x (B, 3, H, W) -> mean and standard deviation, (B, 2, C, h, w) float32.

    An autoencoder without a posterior has standard deviation 0.
    """
    encoded = autoencoder.encode(x)
    if hasattr(encoded, "latent_dist"):
        moments = encoded.latent_dist.mean, encoded.latent_dist.std
    else:
        moments = encoded.latents, torch.zeros_like(encoded.latents)
    return torch.stack([moment.float() for moment in moments], dim=1)


@torch.inference_mode()
def decode_images(autoencoder, latents: Tensor, shift: list[float], scale: list[float]):
    """Latents in units of the diffusion (B, C, h, w) -> uint8 images (B, H, W, 3)."""
    shift, scale = (torch.tensor(v, device=latents.device).view(-1, 1, 1) for v in (shift, scale))
    return to_uint8(autoencoder.decode(latents / scale + shift).sample)
