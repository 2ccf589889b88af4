"""Kernel distance."""

import numpy as np

from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.checks import checked_pair


def kernel_inception_distance(
    features_a: np.ndarray,
    features_b: np.ndarray,
    num_subsets: int,
    subset_size: int,
    seed: int,
) -> tuple[float, float]:
    """KID (Bińkowski et al., 2018): mean and standard deviation over random subsets of both sets.

    Each is the unbiased squared maximum mean discrepancy under k(x, y) = (x . y / D + 1)^3, so that
    it can be negative. A subset has `subset_size` images, or as many as the smaller set has.
    """
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    size = min(subset_size, len(a), len(b))
    distances = []
    for i in range(num_subsets):
        random = stream(seed, "kid-subset", i)
        x = a[random.choice(len(a), size, replace=False)]
        y = b[random.choice(len(b), size, replace=False)]
        within = _sum_off_diagonal(_kernel(x, x)) + _sum_off_diagonal(_kernel(y, y))
        distances.append(within / (size * (size - 1)) - 2 * _kernel(x, y).mean())
    return float(np.mean(distances)), float(np.std(distances))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _sum_off_diagonal(matrix: np.ndarray) -> float:
    return matrix.sum() - np.trace(matrix)
