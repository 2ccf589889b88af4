"""Whether samples are copies of training images."""

from typing import NamedTuple

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import checked_pair
from slimdit.evaluation.metrics.neighbours import nearest_distances

CLOSE_QUANTILE = 0.05  # of the held-out images' distances


class Memorization(NamedTuple):
    nearest_train_distance_ratio: float
    fraction_closer_than_held_out: float


def memorization(train: np.ndarray, samples: np.ndarray, held_out: np.ndarray) -> Memorization:
    """How much closer samples lie to their nearest training image than unseen real images do.

    nearest_train_distance_ratio: median distance of samples (M, D) to their nearest of train
    (N, D), over that of held_out (L, D); 1 for samples that are as new as real images, 0 for
    copies. fraction_closer_than_held_out: fraction of samples closer than all but the closest 5 %
    of held_out; 0.05 for samples that are as new as real images, 1 for copies.

    held_out should have the classes of train and be disjoint from it. Poor samples are far from
    everything: a ratio above 1 says nothing of quality. Raises InputError where 5 % of held_out
    are training images.
    """
    train, samples = checked_pair(train, samples, "train", "samples")
    _, held_out = checked_pair(train, held_out, "train", "held_out")
    distances = nearest_distances(samples, train)
    held_out_distances = nearest_distances(held_out, train)
    close = np.quantile(held_out_distances, CLOSE_QUANTILE)
    if close == 0:
        raise InputError(
            f"held_out has images of train, {(held_out_distances == 0).sum()} of "
            f"{len(held_out)}; the two should be disjoint."
        )
    return Memorization(
        float(np.median(distances) / np.median(held_out_distances)),
        float((distances < close).mean()),
    )
