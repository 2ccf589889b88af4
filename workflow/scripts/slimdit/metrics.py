"""Distances between two sets of features, and what a linear probe sees in one.

Features are arrays (number of images, number of features); everything is computed in float64.
Raises InputError for features that are not finite, of another rank, or too few.
"""

import numpy as np

from slimdit.errors import InputError
from slimdit.randomness import stream

ROWS_AT_ONCE = 1024  # of a matrix of distances


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr sqrt(A B), A and B the covariances (over n - 1).

    Heusel et al. (2017), Eq. 6. The cross term comes from singular values where a set has fewer
    images than features (exact for covariances without full rank, where a matrix square root loses
    five digits), and from eigenvalues otherwise. It is biased upwards for few images: compare
    distances of equally many.
    """
    a, b = _checked_pair(features_a, features_b, "features_a", "features_b")
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = a - mean_a, b - mean_b
    traces = np.square(a).sum() / (len(a) - 1) + np.square(b).sum() / (len(b) - 1)
    num_features = a.shape[1]
    cross = cross_term_by_svd if min(len(a), len(b)) < num_features else cross_term_by_eigenvalues
    return float(np.square(mean_a - mean_b).sum() + traces - 2 * cross(a, b))


def cross_term_by_svd(a: np.ndarray, b: np.ndarray) -> float:
    """tr sqrt(A B) of centred features (n, D) and (m, D): the nuclear norm of a b^T, scaled."""
    scale = np.sqrt((len(a) - 1.0) * (len(b) - 1.0))
    return np.linalg.svd(a @ b.T, compute_uv=False).sum() / scale


def cross_term_by_eigenvalues(a: np.ndarray, b: np.ndarray) -> float:
    """tr sqrt(A B) of centred features (n, D) and (m, D): A = H H^T, eigenvalues of H^T B H."""
    values, vectors = np.linalg.eigh(a.T @ a / (len(a) - 1))
    h = vectors * np.sqrt(values.clip(min=0))
    b_h = b @ h
    return np.sqrt(np.linalg.eigvalsh(b_h.T @ b_h / (len(b) - 1)).clip(min=0)).sum()


def kernel_distance(
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
    a, b = _checked_pair(features_a, features_b, "features_a", "features_b")
    size = min(subset_size, len(a), len(b))
    if num_subsets < 1 or size < 2:
        raise InputError(
            f"KID was asked for {num_subsets} subsets of {size} images; "
            "it needs at least 1 subset of 2."
        )
    distances = []
    for i in range(num_subsets):
        random = stream(seed, "kid-subset", i)
        x = a[random.choice(len(a), size, replace=False)]
        y = b[random.choice(len(b), size, replace=False)]
        within = _sum_off_diagonal(_kernel(x, x)) + _sum_off_diagonal(_kernel(y, y))
        distances.append(within / (size * (size - 1)) - 2 * _kernel(x, y).mean())
    return float(np.mean(distances)), float(np.std(distances))


def precision_recall(
    reference: np.ndarray, samples: np.ndarray, neighbours: int
) -> tuple[float, float]:
    """Share of samples among the reference, and of the reference among the samples.

    Kynkäänniemi et al. (2019): a point is among a set when it lies in the ball of any of its points
    that reaches to that point's `neighbours`-th nearest other.
    """
    reference, samples = _checked_pair(reference, samples, "reference", "samples")
    smaller = min(len(reference), len(samples))
    if not 1 <= neighbours < smaller:
        raise InputError(
            f"neighbours is {neighbours}; with {smaller} images it should be 1 to {smaller - 1}."
        )
    precision = _share_among(samples, reference, neighbours)
    recall = _share_among(reference, samples, neighbours)
    return precision, recall


def linear_probe(features: np.ndarray, labels: np.ndarray):
    """Multinomial logistic regression on features (N, D): a fitted classifier."""
    from sklearn.linear_model import LogisticRegression

    features, labels = _checked_labelled(features, labels)
    if len(np.unique(labels)) < 2:
        raise InputError("a linear probe has labels of one class only; it needs at least two.")
    return LogisticRegression(max_iter=1000).fit(features, labels)


def class_accuracy(probe, features: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the probe gives their label; raises InputError for a label it lacks."""
    features, labels = _checked_labelled(features, labels)
    unknown = np.setdiff1d(labels, probe.classes_)
    if len(unknown):
        raise InputError(
            f"label {unknown[0]} is not among the {len(probe.classes_)} classes of the probe; "
            "samples and reference should have the same classes."
        )
    return float((probe.predict(features) == labels).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _sum_off_diagonal(matrix: np.ndarray) -> float:
    return matrix.sum() - np.trace(matrix)


def _share_among(points: np.ndarray, others: np.ndarray, neighbours: int) -> float:
    radii = np.concatenate(
        [
            _nearest_others(others, start, neighbours)
            for start in range(0, len(others), ROWS_AT_ONCE)
        ]
    )
    num_inside = sum(
        (_squared_distances(points[start : start + ROWS_AT_ONCE], others) <= radii).any(1).sum()
        for start in range(0, len(points), ROWS_AT_ONCE)
    )
    return float(num_inside / len(points))


def _nearest_others(points: np.ndarray, start: int, neighbours: int) -> np.ndarray:
    """Squared distance of each point from `start` on to its `neighbours`-th nearest other."""
    rows = np.arange(start, min(start + ROWS_AT_ONCE, len(points)))
    distances = _squared_distances(points[rows], points)
    distances[rows - start, rows] = np.inf
    return np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1]


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1)
    return (squares - 2 * (x @ y.T)).clip(min=0)


def _checked_pair(a, b, name_a: str, name_b: str) -> tuple[np.ndarray, np.ndarray]:
    a, b = _checked(a, name_a), _checked(b, name_b)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"{name_a} has {a.shape[1]} features and {name_b} has {b.shape[1]}; "
            "both should come from the same extractor."
        )
    return a, b


def _checked(features, name: str) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2 or features.shape[1] < 1:
        raise InputError(
            f"{name} has shape {features.shape}; it should be (images, features) "
            "with at least 2 images and 1 feature."
        )
    if not np.isfinite(features).all():
        raise InputError(f"{name} has values that are not finite; all should be numbers.")
    return features


def _checked_labelled(features, labels) -> tuple[np.ndarray, np.ndarray]:
    features, labels = _checked(features, "features"), np.asarray(labels)
    if labels.shape != (len(features),):
        raise InputError(
            f"labels have shape {labels.shape}; there should be one for each of the "
            f"{len(features)} images."
        )
    return features, labels
