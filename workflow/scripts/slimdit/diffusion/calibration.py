"""What the blocks of a model give at one step of sampling in the place of what they give later."""

import numpy as np

from slimdit.diffusion.caches.calibrated import relative_error
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for
from slimdit.storage.files import read_json

NUM_IMAGES = 10  # as the paper of SmoothCache has it


def block_errors(sampler: LatentSampler, num_classes: int, longest: int) -> np.ndarray:
    """(K, longest), of the step with so many before it, by each of so many earlier ones, the latest
    first; NaN where there is none, or it was guided otherwise. Of a model and its guide the larger.

    sampler: of a cache all of whose steps are full. Of NUM_IMAGES images from noise of their own.
    """
    labels = labels_for(NUM_IMAGES, num_classes, "random", sampler.seed)
    is_guided, earlier = sampler.is_guided[::-1], []
    errors = np.full((len(is_guided), longest), np.nan)
    for step, (_, kept) in enumerate(sampler.steps(np.arange(NUM_IMAGES), labels, "calibration")):
        for back, others in enumerate(earlier):
            if is_guided[step] == is_guided[step - 1 - back]:
                pairs = zip(kept, others, strict=True)
                errors[step, back] = max(relative_error(*pair) for pair in pairs if pair[0])
        earlier = [kept, *earlier][:longest]
    return errors


def with_calibrated(sampling: dict, path: str | None) -> dict:
    """`sampling` with the cache that `calibrate_cache` wrote to `path`, where there is one."""
    return sampling | {"cache": read_json(path)["cache"]} if path else sampling
