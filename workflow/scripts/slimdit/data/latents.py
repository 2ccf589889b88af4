"""The latent cache: one memory-mapped array of posterior moments, and batches drawn from it."""

import functools
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.process_group import Processes
from slimdit.core.errors import InputError
from slimdit.core.randomness import normal_rows, stream
from slimdit.storage.courtesies import read_array
from slimdit.storage.files import read_json, sha256_of

UNFLIPPED = 0  # of the two flips
MEAN, STD = 0, 1
GPU_SHARE = 0.5  # of the free memory, at most, for latents


class LatentCache:
    """Moments of every image of a split of the subset and its mirror image.

    moments: (M, 2 flips, 2 moments, C, H, W) float16; labels: (M,); sha256: of the file. The
    manifest, which all splits share, carries the shift and scale per channel that latents are
    trained with.

    Raises InputError when the array is not what its manifest says.
    """

    def __init__(self, array: str | Path, manifest: str | Path, split: str = "train"):
        self.manifest = read_json(manifest)
        of_split = self.manifest["splits"][split]
        self.sha256 = of_split["sha256"]
        if sha256_of(array) != self.sha256:
            raise InputError(
                f"{array} is not what {manifest} is about (its sha256 differs); "
                "delete both to encode anew."
            )
        self.moments = read_array(array)
        self.labels = np.array(of_split["labels"], dtype=np.int64)


class Units:
    """Those of the diffusion, as the manifest of the latents gives them by channel."""

    def __init__(self, manifest: dict, device: torch.device):
        self.shift, self.scale = (
            torch.tensor(manifest[key], device=device).view(-1, 1, 1) for key in ("shift", "scale")
        )

    def sample(self, moments: Tensor, eps: Tensor) -> Tensor:
        """Of the posteriors with moments (B, 2, C, H, W), by noise eps: x0 (B, C, H, W)."""
        return (moments[:, MEAN] + moments[:, STD] * eps - self.shift) * self.scale


class LatentBatches:
    """Batch s of a run, as a function of (seed, s): posterior samples x0 and labels.

    Images come in a new random order each epoch; a batch may span two epochs.
    """

    def __init__(self, cache: LatentCache, batch_size: int, flip: bool, seed: int, device):
        self.batch_size, self.flip, self.seed, self.device = batch_size, flip, seed, device
        self.num_images = len(cache.labels)
        # Processes on one machine share the file's pages, not copies of it.
        moments = np.array(cache.moments) if Processes().size == 1 else cache.moments
        self.moments, self.labels = moments, cache.labels  # or tensors on the GPU
        self.is_on_gpu = fits(moments.nbytes, device)
        if self.is_on_gpu:
            with warnings.catch_warnings(action="ignore"):  # nothing is written to the mapped file
                self.moments = torch.from_numpy(moments).to(device)
            self.labels = torch.from_numpy(cache.labels).to(device)
        self.units = Units(cache.manifest, device)
        self.order = functools.lru_cache(2)(self._order)

    def draw(self, step: int, rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The host's part of the `rows` of batch `step`: what is stored of their images, or where
        the GPU has it, and the posterior's noise (B, C, H, W) float32."""
        images, flips = self.images(step)[rows.start : rows.stop], np.zeros(len(rows), np.int64)
        if self.flip:
            flips = stream(self.seed, "flip", step).integers(0, 2, self.batch_size)
            flips = flips[rows.start : rows.stop]
        found = (images, flips) if self.is_on_gpu else self.stored(images, flips)
        shape = tuple(self.moments.shape[3:])
        return *found, normal_rows(self.seed, "posterior", step, rows, shape)

    def latents(self, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Of what was drawn, on the device: x0 (B, C, H, W) float32 in units of the diffusion, and
        labels (B,)."""
        *found, eps = drawn
        moments, labels = self.stored(*found) if self.is_on_gpu else found
        return self.units.sample(moments.float(), eps), labels

    def stored(self, images, flips):
        """Moments (B, 2, C, H, W) float16 and labels (B,) of images, or of their mirror images:
        arrays or, where the latents lie on the GPU, tensors."""
        return self.moments[images, flips], self.labels[images]

    def images(self, step: int) -> np.ndarray:
        """Positions in the cache of the images of batch `step`, (batch_size,)."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, self.num_images)
        images = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            images[now] = self.order(int(epoch))[places[now]]
        return images

    def _order(self, epoch: int) -> np.ndarray:
        return stream(self.seed, "order", epoch).permutation(self.num_images)


def fits(num_bytes: int, device: torch.device) -> bool:
    """Whether the latents may lie on a GPU, beside what training needs there."""
    return device.type == "cuda" and num_bytes <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]


def classes_of(rows):
    """In the order of their labels."""
    classes = {int(row["label"]): row["class"] for row in rows}
    return [classes[label] for label in sorted(classes)]


def own_normalization(autoencoder, scaling_factor, channels):
    """Per channel: the autoencoder's own factors, as `normalization` gives them.

    scaling_factor: in the place of the autoencoder's, if it is not None.
    """
    shift = getattr(autoencoder.config, "shift_factor", None) or 0.0
    scale = scaling_factor or autoencoder.config.scaling_factor
    return [float(shift)] * channels, [float(scale)] * channels


def normalization(moments, normalize, scaling_factor, latent_std, autoencoder):
    """Per channel: what to subtract from a latent, and what to multiply it with.

    Measured: samples of the posterior get mean 0 and standard deviation `latent_std`.
    """
    if normalize == "config":
        return own_normalization(autoencoder, scaling_factor, moments.shape[3])
    means, stds = moments[:, :, MEAN].astype(np.float32), moments[:, :, STD].astype(np.float32)
    images = (0, 1, 3, 4)
    shift = means.mean(axis=images, dtype=np.float64)
    variance = means.var(axis=images, dtype=np.float64)
    # Of what is trained on: a channel that the posterior has given up is noise, not a faint signal.
    variance += np.square(stds).mean(axis=images, dtype=np.float64)
    scale = latent_std / np.sqrt(variance)
    return shift.tolist(), scale.tolist()
