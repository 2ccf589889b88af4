"""Images to latents and back through any autoencoder that diffusers can load."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.devices import to_device
from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.compute.precision import autocast
from slimdit.core.errors import InputError
from slimdit.core.text import shortened
from slimdit.data.autoencoder_files import WEIGHTS, autoencoder_folder

DECODED_AT_ONCE = 32  # images of a batch: at 256 pixels they take 5 GiB


def load_autoencoder(source: str | Path, revision: str | None, device: torch.device):
    """A local folder in diffusers' layout, or a hub name with a pinned revision; frozen.

    Raises InputError as `autoencoder_folder` does, and for weights of another structure.
    """
    import diffusers

    folder = autoencoder_folder(source, revision)
    of_class = getattr(diffusers, diffusers.AutoencoderKL.load_config(folder)["_class_name"])
    try:
        model, found = of_class.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True
        )
        if missing := found["missing_keys"]:
            raise ValueError(f"{min(missing)} is missing")
    except (OSError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error) or getattr(error, "errno", None):  # a disk's own
            raise
        what = shortened(str(error).strip().split("\n")[0])
        raise InputError(
            f"{folder / WEIGHTS} does not fit its config.json ({what}); download both again."
        ) from None
    return model.to(device).eval().requires_grad_(False)


def to_model_range(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    x = to_device(images, device).permute(0, 3, 1, 2)
    return x.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def to_uint8(x: Tensor) -> Tensor:
    """float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    return x.float().mul(127.5).add(128).clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def encode_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is float16 on CUDA and float32 on a CPU."""
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "float32"
    return getattr(torch, precision)


@torch.inference_mode()
def encode_moments(autoencoder, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """x (B, 3, H, W) -> mean and standard deviation, (B, 2, C, h, w) float32.

    By autocast to `dtype`; in float32 where that gives numbers that are not finite. An autoencoder
    without a posterior has standard deviation 0.
    """
    with autocast(x.device, dtype):
        encoded = autoencoder.encode(x)
    if hasattr(encoded, "latent_dist"):
        computed = encoded.latent_dist.parameters  # the deviation is clamped, also an infinite one
        moments = encoded.latent_dist.mean, encoded.latent_dist.std
    else:
        computed = encoded.latents
        moments = computed, torch.zeros_like(computed)
    if dtype != torch.float32 and not computed.isfinite().all():
        return encode_moments(autoencoder, x)
    return torch.stack([moment.float() for moment in moments], dim=1)


@torch.inference_mode()
def decode_images(
    autoencoder,
    latents: Tensor,
    shift: list[float],
    scale: list[float],
    dtype: torch.dtype = torch.float32,
) -> np.ndarray:
    """Latents in units of the diffusion (B, C, h, w) -> uint8 images (B, H, W, 3)."""
    on = latents.device
    shift, scale = (torch.tensor(values, device=on).view(-1, 1, 1) for values in (shift, scale))
    z = latents / scale + shift
    images = [to_uint8(_decoded(autoencoder, part, dtype)) for part in z.split(DECODED_AT_ONCE)]
    return torch.cat(images).cpu().numpy()


def _decoded(autoencoder, z: Tensor, dtype: torch.dtype) -> Tensor:
    """By autocast to `dtype`; in float32 where that gives numbers that are not finite."""
    with autocast(z.device, dtype):
        x = autoencoder.decode(z).sample
    if dtype != torch.float32 and not x.isfinite().all():
        x = autoencoder.decode(z).sample
    return x
