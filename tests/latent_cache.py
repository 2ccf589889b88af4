"""A latent cache as `encode_latents` leaves it, of random numbers: for tests and benchmarks."""

from pathlib import Path

import numpy as np

from slimdit.core.randomness import stream
from slimdit.data.latents import STD
from slimdit.storage.files import sha256_of, write_json


def write_latent_cache(
    folder: Path,
    num_images: int,
    moments=None,
    shift=None,
    scale=None,
    channels: int = 4,
    side: int = 8,
    num_classes: int = 3,
    split: str = "train",
) -> tuple[Path, Path]:
    """Paths of the array (num_images, 2, 2, channels, side, side) float16 and of its manifest.

    moments: that array, instead of a random one. Image i is of class i % num_classes.
    """
    if moments is None:
        shape = (num_images, 2, 2, channels, side, side)
        moments = stream(0, "moments").standard_normal(shape, np.float32)
        moments[:, :, STD] = 0.1 + np.abs(moments[:, :, STD])
    array, manifest = folder / "latents.npy", folder / "latents.json"
    np.save(array, moments.astype(np.float16))
    write_json(
        manifest,
        {
            "splits": {
                split: {
                    "labels": [i % num_classes for i in range(num_images)],
                    "sha256": sha256_of(array),
                }
            },
            "classes": [f"class-{i}" for i in range(num_classes)],
            "shift": shift or [0.0] * channels,
            "scale": scale or [1.0] * channels,
        },
    )
    return array, manifest
