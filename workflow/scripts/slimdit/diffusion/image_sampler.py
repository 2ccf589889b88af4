"""The images of a run, from its weights and the autoencoder of its latents."""

import time

import numpy as np

from slimdit.compute.devices import device
from slimdit.compute.precision import name_of
from slimdit.core.canonical import fingerprint
from slimdit.core.errors import InputError
from slimdit.data.autoencoder_files import weights_file
from slimdit.data.resumable_array import ResumableArray
from slimdit.diffusion.calibration import with_calibrated
from slimdit.diffusion.image_decoder import ImageDecoder
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for
from slimdit.jobs.provenance import arithmetic
from slimdit.models.checkpoint import load_variant
from slimdit.storage.files import read_json, sha256_of


class ImageSampler:
    """Image i of a run depends on (seed, i, its label) alone.

    guide: the weights of the model that guides, where `sampling` names one. cache: the file of
    `calibrate_cache`, where the sampling's is calibrated.
    sampling: what `LatentSampler` takes, and {"num_samples", "num_sets", "labels", "batch_size"}:
    `num_sets` sets of the same labels from other noise, one set after the other.

    Attributes: labels, int64 (num_samples,); num_images, of all sets; manifest, of the latents;
    precision_name, of the model's products; inputs, the files' sha256.
    """

    def __init__(
        self,
        checkpoint,
        latents_manifest,
        sampling,
        num_timesteps,
        source,
        revision,
        guide=None,
        cache=None,
    ):
        sampling = with_calibrated(sampling, cache)
        self.batch_size, self.manifest = sampling["batch_size"], read_json(latents_manifest)
        on = device()
        model = load_variant(checkpoint, on)
        guiding = load_variant(guide, on) if guide else None
        self.latent_sampler = LatentSampler(model, sampling, num_timesteps, on, guiding)
        self.decoder = ImageDecoder(
            source, revision, sampling["compile"], sampling["precision"], on
        )
        check_same_autoencoder(weights_file(source, revision), self.manifest)
        self.labels = labels_for(
            sampling["num_samples"], model.num_classes, sampling["labels"], sampling["seed"]
        )
        self.num_images = len(self.labels) * sampling["num_sets"]
        self.precision_name = name_of(self.latent_sampler.dtype)
        files = filter(None, (checkpoint, guide, cache, latents_manifest))
        self.inputs = {path: sha256_of(path) for path in files}
        made_from = self.inputs.values()
        self.identity = [sampling, num_timesteps, self.precision_name, arithmetic(), *made_from]

    def images(self, indices: np.ndarray, labels: np.ndarray, stream: str = "image") -> np.ndarray:
        """Images `indices` of classes `labels`, uint8 (B, H, W, 3)."""
        z = self.latent_sampler.latents(indices, labels, stream)
        return self.decoder(z, self.manifest["shift"], self.manifest["scale"])

    def array(self, state, recipe: dict, rows: range):
        """The images `rows` of all sets, uint8 (len(rows), H, W, 3), as a ResumableArray in the
        folder `state`; with how many of them were made just now and the seconds that took.

        recipe: of the step, as `study.jobs.recipe` gives it.
        """
        side = self.manifest["image_size"]
        key = fingerprint([*self.identity, recipe, rows.start, rows.stop])
        array = ResumableArray(state, key, (len(rows), side, side, 3), np.uint8)

        def make(start, stop):
            indices = np.arange(rows[start], rows[stop - 1] + 1)
            return self.images(indices, self.labels[indices % len(self.labels)])

        todo, started_s = len(rows) - array.done, time.monotonic()
        array.fill(make, self.batch_size, "sample", "image")
        return array, todo, time.monotonic() - started_s


def check_same_autoencoder(weights, manifest):
    """Raise InputError unless `weights` are those that the latents were encoded by."""
    if sha256_of(weights) != manifest["autoencoder"]["weights_sha256"]:
        raise InputError(
            f"{weights} are not the weights that the latents were encoded by (their sha256 "
            "differs); restore them, or delete the study's data/latents.json to encode anew."
        )
