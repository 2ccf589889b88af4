"""Images to latents and back through any autoencoder that diffusers can load."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.precision import autocast
from slimdit.core.errors import InputError
from slimdit.storage.files import sha256_of

CLASSES = ("AutoencoderKL", "AutoencoderTiny")
WEIGHTS = "diffusion_pytorch_model.safetensors"
SHA256_DIGITS = 64


def weights_file(source: str | Path, revision: str | None) -> Path:
    """The weights on this machine: a local folder's, or the hub's, downloaded once.

    The hub's cache names a large file by the sha256 that the hub has of it. Raises InputError where
    the file has another.
    """
    from huggingface_hub import hf_hub_download

    if Path(source).is_dir():
        return Path(source) / WEIGHTS
    path = Path(hf_hub_download(str(source), WEIGHTS, revision=revision))
    blob = path.resolve()
    if len(blob.name) == SHA256_DIGITS and sha256_of(blob) != blob.name:
        raise InputError(
            f"{blob} is not what {source} has at {revision} (its sha256 should be its name); "
            "delete it to download it again."
        )
    return path


def load_autoencoder(source: str | Path, revision: str | None, device: torch.device):
    """A local folder in diffusers' layout, or a hub name with a pinned revision; frozen.

    Raises InputError when the folder holds no known autoencoder, a hub name has no revision, or
    its weights are not those of the hub.
    """
    import diffusers

    is_folder = Path(source).is_dir()
    if not is_folder:
        if not revision:
            raise InputError(
                f"autoencoder.revision is missing; pin the commit of {source} on the hub."
            )
        weights_file(source, revision)
    try:
        name = diffusers.AutoencoderKL.load_config(source, revision=revision)["_class_name"]
    except (OSError, KeyError):
        if not is_folder:
            raise
        raise InputError(
            f"{source} is not an autoencoder in diffusers' layout; it needs a config.json with "
            f"_class_name and a {WEIGHTS}."
        ) from None
    if name not in CLASSES:
        raise InputError(f"autoencoder {source} is a {name}; known: {', '.join(CLASSES)}.")
    model = getattr(diffusers, name).from_pretrained(
        source, use_safetensors=True, revision=revision
    )
    return model.to(device).eval().requires_grad_(False)


def to_model_range(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
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
    """Latents in units of the diffusion (B, C, h, w) -> uint8 images (B, H, W, 3).

    By autocast to `dtype`; in float32 where that gives numbers that are not finite.
    """
    on = latents.device
    shift, scale = (torch.tensor(values, device=on).view(-1, 1, 1) for values in (shift, scale))
    z = latents / scale + shift
    with autocast(on, dtype):
        x = autoencoder.decode(z).sample
    if dtype != torch.float32 and not x.isfinite().all():
        x = autoencoder.decode(z).sample
    return to_uint8(x).cpu().numpy()
