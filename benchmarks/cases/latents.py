"""Batches of latents from one array, against two small files an image."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from made_latents import write_cache
from plain.latent_files import LatentFiles
from ratios import largest_difference, speedup

from slimdit.latents import MEAN, LatentBatches

NUM_IMAGES, BATCH_SIZE = 2048, 256


def latent_batches(num_runs: int, device: torch.device) -> dict:
    """An epoch of what is stored, to the device, from files that the system holds in memory.

    The files hold one latent an image; the array holds mean and deviation of the image and of its
    mirror image, of which a new latent is drawn each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = write_cache(Path(folder), NUM_IMAGES)
        files = LatentFiles(Path(folder))
        files.write(np.array(cache.moments[:, 0, MEAN]), cache.labels)
        batches = LatentBatches(cache, BATCH_SIZE, flip=False, seed=0, device=device)
        epoch = [batches.rows(step) for step in range(NUM_IMAGES // BATCH_SIZE)]
        flips = np.zeros(BATCH_SIZE, dtype=epoch[0].dtype)

        def theirs():
            return [[tensor.to(device) for tensor in files.batch(rows)] for rows in epoch]

        def ours():
            return [batches.stored(rows, flips) for rows in epoch]

        (latents, labels), (moments, own_labels) = theirs()[-1], ours()[-1]
        difference = largest_difference([latents, labels], [moments[:, MEAN], own_labels])
        result = speedup(theirs, ours, num_runs, device)
    return {
        "what": "one array against two files an image",
        "batch_size": BATCH_SIZE,
        "num_batches": len(epoch),
        "largest_difference": difference,
        **result,
    }
