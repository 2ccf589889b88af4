"""A latent cache as `encode_latents` leaves it, of random moments."""

from pathlib import Path

import numpy as np
from models import STUDY

from slimdit.core.randomness import stream
from slimdit.data.latents import STD, LatentCache
from slimdit.storage.files import sha256_of, write_json


def write_cache(folder: Path, num_images: int) -> LatentCache:
    structure = STUDY.structure("S2-base")
    side, num_classes = structure["input_size"], structure["num_classes"]
    shape = (num_images, 2, 2, structure["in_channels"], side, side)
    moments = stream(0, "moments").standard_normal(shape, np.float32)
    moments[:, :, STD] = 0.1 * np.abs(moments[:, :, STD])
    array, manifest = folder / "latents.npy", folder / "latents.json"
    np.save(array, moments.astype(np.float16))
    write_json(
        manifest,
        {
            "shape": list(shape),
            "labels": [i % num_classes for i in range(num_images)],
            "classes": [f"class-{i}" for i in range(num_classes)],
            "shift": [0.0] * structure["in_channels"],
            "scale": [1.0] * structure["in_channels"],
            "sha256": sha256_of(array),
        },
    )
    return LatentCache(array, manifest)
