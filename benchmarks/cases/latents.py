"""Batches of latents from one array, against two small files an image."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from models import random_latents
from plain.latent_files import LatentFiles
from ratios import TOLERANCE, speedup_apart
from sides import Side

from slimdit.data.latents import MEAN, LatentBatches
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
) -> tuple[LatentBatches, list[np.ndarray]]:
    """Random latents, and the positions in them that the batches hold."""
    cache = random_latents(study, tempfile.mkdtemp(dir=folder), NUM_IMAGES)
    batches = LatentBatches(cache, BATCH_SIZE, False, 0, device)
    return batches, [batches.rows(step) for step in range(NUM_IMAGES // BATCH_SIZE)]


def from_files(study: Study, folder: str, device: torch.device):
    batches, rows_of_batches = epoch(study, folder, device)
    files = LatentFiles(Path(tempfile.mkdtemp(dir=folder)))
    files.write(batches.moments[:, 0, MEAN].cpu().numpy(), batches.labels.cpu().numpy())

    def run():
        for rows in rows_of_batches:
            latents, labels = (tensor.to(device) for tensor in files.batch(rows))
        return [latents, labels]

    return run


def from_array(study: Study, folder: str, device: torch.device):
    batches, rows_of_batches = epoch(study, folder, device)
    flips = np.zeros(BATCH_SIZE, dtype=np.int64)

    def run():
        for rows in rows_of_batches:
            moments, labels = batches.stored(rows, flips)
        return [moments[:, MEAN], labels]

    return run
