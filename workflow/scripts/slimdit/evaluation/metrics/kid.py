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


def discrepancies(features: np.ndarray, reference: np.ndarray, groups: np.ndarray) -> list[float]:
    """The unbiased squared discrepancy of which KID is a mean, of all features (N, D) from a
    reference (M, D) at once, then of all but those of each of the groups (N,)."""
    x, y = checked_pair(features, reference, "features", "reference")
    parts = [x[groups == group] for group in range(groups.max() + 1)]
    across = np.array([_kernel(part, y).sum() for part in parts])
    # The unbiased sum has no image with itself.
    within = np.array([[_kernel(part, other).sum() for other in parts] for part in parts])
    within -= np.diag([_itself(part).sum() for part in parts])
    blocks = np.array_split(y, len(parts))  # all of it at once is M x M
    of_reference = sum(_kernel(block, y).sum() for block in blocks) - _itself(y).sum()
    of_reference /= len(y) * (len(y) - 1)

    def discrepancy(kept: np.ndarray) -> float:
        count = sum(len(parts[group]) for group in kept)
        pairs = within[np.ix_(kept, kept)].sum() / (count * (count - 1))
        return float(pairs + of_reference - 2 * across[kept].sum() / (count * len(y)))

    every = np.arange(len(parts))
    return [discrepancy(every), *(discrepancy(np.delete(every, group)) for group in every)]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _itself(x: np.ndarray) -> np.ndarray:
    """The kernel (N,) of each image with itself."""
    return (np.square(x).sum(1) / x.shape[1] + 1) ** 3


def _sum_off_diagonal(matrix: np.ndarray) -> float:
    return matrix.sum() - np.trace(matrix)
