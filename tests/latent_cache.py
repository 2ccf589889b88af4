"""A latent cache as `encode_latents` leaves it, made up in a moment."""

from pathlib import Path

import numpy as np

from slimdit.core.randomness import stream
from slimdit.storage.files import sha256_of, write_json

NUM_CLASSES = 3


def write_latent_cache(folder: Path, num_images: int, moments=None, shift=None, scale=None):
    """Paths of the array, (num_images, 2, 2, 4, 8, 8) float16, and of its manifest."""
    if moments is None:
        moments = stream(0, "moments").standard_normal((num_images, 2, 2, 4, 8, 8))
        moments[:, :, 1] = 0.1 + np.abs(moments[:, :, 1])
    array, manifest = folder / "latents.npy", folder / "latents.json"
    np.save(array, moments.astype(np.float16))
    write_json(
        manifest,
        {
            "shape": list(moments.shape),
            "labels": [i % NUM_CLASSES for i in range(num_images)],
            "classes": [f"class-{i}" for i in range(NUM_CLASSES)],
            "shift": shift or [0.0] * 4,
            "scale": scale or [1.0] * 4,
            "sha256": sha256_of(array),
        },
    )
    return array, manifest
