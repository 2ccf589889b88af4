"""What every metric asks of its features and labels."""

import numpy as np

from slimdit.core.errors import InputError


def checked_features(features, name: str) -> np.ndarray:
    """Features (N, D) in float64."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2 or features.shape[1] < 1:
        raise InputError(
            f"{name} has shape {features.shape}; it should be (images, features) "
            "with at least 2 images and 1 feature."
        )
    check_finite(features, name)
    return features


def checked_pair(a, b, name_a: str, name_b: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and (M, D) in float64."""
    a, b = checked_features(a, name_a), checked_features(b, name_b)
    check_same_width(a, b, name_a, name_b)
    return a, b


def check_same_width(a: np.ndarray, b: np.ndarray, name_a: str, name_b: str) -> None:
    """Features or means (..., D)."""
    if a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"{name_a} has {a.shape[-1]} features and {name_b} has {b.shape[-1]}; "
            "both should come from the same extractor."
        )


def checked_labels(labels, num_images: int) -> np.ndarray:
    """Labels (N,)."""
    labels = np.asarray(labels)
    if labels.shape != (num_images,):
        raise InputError(
            f"labels have shape {labels.shape}; there should be one for each of the "
            f"{num_images} images."
        )
    return labels


def check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"{name} has values that are not finite; all should be numbers.")
