"""Sets of real images that are evaluated as if they were samples: what samples can reach."""

from collections.abc import Iterator

import numpy as np

HELD_OUT = "Held-out images"
HELD_OUT_RECONSTRUCTED = "Held-out images through the autoencoder"
TRAINING_RECONSTRUCTED = "Training images through the autoencoder"  # as copies of them are
# In the reference's file: what the names of their features begin with, and their labels.
REFERENCE_ROWS = {
    HELD_OUT: ("held_out_", "held_out_labels"),
    HELD_OUT_RECONSTRUCTED: ("reconstructed_held_out_", "held_out_labels"),
    TRAINING_RECONSTRUCTED: ("reconstructed_", "labels"),
}


def reference_sets(
    reference: dict[str, np.ndarray], most: int
) -> Iterator[tuple[str, dict[str, np.ndarray], np.ndarray]]:
    """Of each row the name, and of at most so many of its images, as many of each class, the
    features `pooled` (N, D) and `spatial` (N, S) and the labels (N,)."""
    for name, (prefix, labels) in REFERENCE_ROWS.items():
        rows = first_of_each_class(reference[labels], most)
        features = {kind: reference[f"{prefix}{kind}"][rows] for kind in ("pooled", "spatial")}
        yield name, features, reference[labels][rows]


def first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most so many images by their labels (N,): the first of each class, then the
    second, and so on."""
    place = np.empty(len(labels), np.int64)  # within its class
    for label in np.unique(labels):
        place[labels == label] = np.arange((labels == label).sum())
    return np.argsort(place, kind="stable")[:most]
