"""Batches of latents from one array, against two small files an image."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from models import random_latents
from plain.latent_files import LatentFiles
from ratios import TOLERANCE, speedup_apart
from sides import Side

from slimdit.data.latents import MEAN, LatentBatches, LatentCache
from slimdit.study.study import Study

NUM_IMAGES, BATCH_SIZE = 2048, 256


def latent_batches(study: Study, num_runs: int, device: torch.device) -> dict:
    """An epoch of what is stored, to the device, from files that the system holds in memory.

    The files hold one latent an image; the array holds mean and deviation of the image and of its
    mirror image, of which a new latent is drawn each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = speedup_apart(
            Side(from_files, study, folder, device),
            Side(from_array, study, folder, device),
            num_runs,
            TOLERANCE,
        )
    return {
        "what": "one array against two files an image",
        "batch_size": BATCH_SIZE,
        "num_images": NUM_IMAGES,
        **result,
    }


def epoch(
    study: Study, folder: str, device: torch.device
) -> tuple[LatentCache, LatentBatches, range]:
    """Random latents, their batches, and the steps of an epoch."""
    cache = random_latents(study, tempfile.mkdtemp(dir=folder), NUM_IMAGES)
    batches = LatentBatches(cache, BATCH_SIZE, False, 0, device)
    return cache, batches, range(NUM_IMAGES // BATCH_SIZE)


def from_files(study: Study, folder: str, device: torch.device):
    cache, batches, steps = epoch(study, folder, device)
    files = LatentFiles(Path(tempfile.mkdtemp(dir=folder)))
    files.write(cache.moments[:, 0, MEAN], cache.labels)
    images_of_batches = [batches.images(step) for step in steps]

    def run():
        for images in images_of_batches:
            latents, labels = (tensor.to(device) for tensor in files.batch(images))
        return [latents, labels]

    return run


def from_array(study: Study, folder: str, device: torch.device):
    _, batches, steps = epoch(study, folder, device)
    images_of_batches = [batches.images(step) for step in steps]
    unflipped = np.zeros(BATCH_SIZE, np.int64)

    def run():
        for images in images_of_batches:
            moments, labels = map(torch.as_tensor, batches.stored(images, unflipped))
        return [moments[:, MEAN].to(device), labels.to(device)]

    return run
