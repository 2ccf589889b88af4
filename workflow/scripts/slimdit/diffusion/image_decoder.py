"""Latents of a run to its images."""

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.compiler import compiles
from slimdit.data.autoencoders import decode_images, encode_dtype, load_autoencoder


class ImageDecoder:
    """As a sampling's `compile` and `precision` have it; source, revision: of the autoencoder."""

    def __init__(
        self,
        source: str,
        revision: str | None,
        compile: str,
        precision: str,
        device: torch.device,
    ):
        self.autoencoder = load_autoencoder(source, revision, device)
        if compiles(compile, device):
            self.autoencoder.decoder.compile(dynamic=True)
        self.dtype = decode_dtype(precision, device)

    def __call__(self, latents: Tensor, shift: list[float], scale: list[float]) -> np.ndarray:
        """As `decode_images`, (B, C, h, w) -> uint8 (B, H, W, 3)."""
        return decode_images(self.autoencoder, latents, shift, scale, self.dtype)


def decode_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Of the decoder, beside a model of this `sampling.precision`: the encoder's `auto`, since
    bfloat16 has fewer digits than an image's eight bits."""
    return encode_dtype("float32" if precision == "float32" else "auto", device)
