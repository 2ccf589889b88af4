"""Images divided among groups of equal size."""

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import checked_labels


def balanced_groups(
    num_images: int, num_groups: int, random: np.random.Generator, labels=None
) -> np.ndarray:
    """Random group (N,) of each image, in 0 .. num_groups - 1.

    The groups' sizes, and with `labels` (N,) also their numbers of each label, differ by at most 1.
    Raises InputError for fewer than 2 groups, or a group of fewer than 2 images.
    """
    if not 2 <= num_groups <= num_images // 2:
        raise InputError(
            f"{num_images} images were to be divided among {num_groups} groups; there should be "
            "at least 2 groups of at least 2 images."
        )
    order = random.permutation(num_images)
    if labels is not None:
        labels = checked_labels(labels, num_images)
        order = order[np.argsort(labels[order], kind="stable")]
    groups = np.empty(num_images, dtype=np.intp)
    groups[order] = np.arange(num_images) % num_groups
    return groups
