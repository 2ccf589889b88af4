"""Fréchet distance of the normal distributions fitted to two sets of features.

|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr sqrt(A B), A and B the covariances over n - 1
(Heusel et al., 2017, Eq. 6). With A = H H^T and Y the m centred features behind B, the cross term
tr sqrt(A B) is the sum of the singular values of Y H over sqrt(m - 1):

- by SVD where a set has fewer images than features. H is then made of the images themselves, so
  that nothing is squared: exact without full rank, where a matrix square root loses five digits.
- by eigenvalues of H^T B H otherwise, several times faster. H is then V sqrt(lambda) of A.

It is biased upwards for few images: compare distances of equally many.
"""

import math
from collections.abc import Iterable

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import (
    check_finite,
    check_same_width,
    checked_features,
    checked_pair,
)

ASYMMETRY = 1e-8  # of a covariance, relative to its largest entry


def frechet_distance(
    features_a: np.ndarray, features_b: np.ndarray, mean_dtype: str = "float64"
) -> float:
    """Distance of features (N, D) and (M, D).

    mean_dtype: "float32" is OpenAI's evaluator to its rounding, for published numbers: the means
    of the float32 features are accumulated, subtracted and squared in float32, and the covariances
    stay in float64 with means of their own. The two differ by the rounding of those means.
    """
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    smaller, larger = (a, b) if len(a) <= len(b) else (b, a)
    return PreparedReference(smaller, mean_dtype).distance(larger)


class PreparedReference:
    """Features (N, D) whose factor H is computed once for distances to many sets."""

    def __init__(self, features: np.ndarray, mean_dtype: str = "float64"):
        features = checked_features(features, "reference")
        self.num_images, self.num_features = features.shape
        self.mean_dtype = mean_dtype
        self.mean = _mean(features, mean_dtype)  # (D,)
        self.centre = features.mean(0)  # (D,)
        centred = features - self.centre
        self.trace = _trace(centred)
        if self.num_images < self.num_features:
            self.factor = centred.T / np.sqrt(self.num_images - 1)  # (D, N)
        else:
            self.factor = _factor(_covariance(centred))  # (D, rank)

    @classmethod
    def of_statistics(cls, mean: np.ndarray, covariance: np.ndarray) -> "PreparedReference":
        """Of a mean (D,) and a covariance (D, D), of more images than features."""
        reference = cls.__new__(cls)
        reference.mean, covariance = checked_statistics(mean, covariance, "mean", "covariance")
        reference.mean_dtype, reference.centre = "float64", reference.mean
        reference.num_images, reference.num_features = math.inf, len(mean)
        reference.trace, reference.factor = np.trace(covariance), _factor(covariance)
        return reference

    def distance(self, features: np.ndarray) -> float:
        """Distance to features (M, D)."""
        return self.distances(features, [slice(None)])[0]

    def distances(self, features: np.ndarray, subsets: Iterable) -> list[float]:
        """Distances to subsets of features (M, D), each an index of its rows."""
        features = checked_features(features, "features")
        check_same_width(features, self.mean, "features", "reference")
        projected = (features - self.centre) @ self.factor  # (M, rank)
        return [self._distance(features[kept], projected[kept]) for kept in subsets]

    def _distance(self, features: np.ndarray, projected: np.ndarray) -> float:
        projected = projected - projected.mean(0)
        if min(self.num_images, len(features)) < self.num_features:
            nuclear_norm = np.linalg.svd(projected, compute_uv=False).sum()
        else:
            nuclear_norm = _sum_of_roots(projected.T @ projected)
        cross = nuclear_norm / np.sqrt(len(features) - 1)
        traces = self.trace + _trace(features - features.mean(0))
        return _distance(self.mean, _mean(features, self.mean_dtype), traces, cross)


def frechet_distance_from_statistics(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Distance from means (D,) and covariances (D, D), by eigenvalues, the negative ones as 0.

    Without full rank, features give it more exactly: here rounding leaves some 1e-6 of the traces.
    Raises InputError for statistics that are not finite, not symmetric or of different shapes.
    """
    mean_a, covariance_a = checked_statistics(mean_a, covariance_a, "mean_a", "covariance_a")
    mean_b, covariance_b = checked_statistics(mean_b, covariance_b, "mean_b", "covariance_b")
    check_same_width(mean_a, mean_b, "mean_a", "mean_b")
    factor = _factor(covariance_a)
    cross = _sum_of_roots(factor.T @ covariance_b @ factor)
    return _distance(mean_a, mean_b, np.trace(covariance_a) + np.trace(covariance_b), cross)


def feature_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of features (N, D), in float64."""
    features = checked_features(features, "features")
    mean = features.mean(0)
    return mean, _covariance(features - mean)


def checked_statistics(
    mean, covariance, mean_name: str, covariance_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) in float64."""
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if mean.ndim != 1 or not len(mean) or covariance.shape != 2 * mean.shape:
        raise InputError(
            f"{mean_name} has shape {mean.shape} and {covariance_name} {covariance.shape}; "
            "they should be (features,) and (features, features)."
        )
    check_finite(mean, mean_name)
    check_finite(covariance, covariance_name)
    asymmetry = np.abs(covariance - covariance.T).max()
    if asymmetry > ASYMMETRY * np.abs(covariance).max():
        raise InputError(
            f"{covariance_name} differs from its transpose by up to {asymmetry:.3g}; "
            "it should be symmetric."
        )
    return mean, covariance


def _distance(mean_a: np.ndarray, mean_b: np.ndarray, traces: float, cross: float) -> float:
    difference = mean_a - mean_b
    return float(difference.dot(difference) + traces - 2 * cross)


def _mean(features: np.ndarray, dtype: str) -> np.ndarray:
    return np.ascontiguousarray(features, dtype=dtype).mean(0)


def _trace(centred: np.ndarray) -> float:
    return np.square(centred).sum() / (len(centred) - 1)


def _covariance(centred: np.ndarray) -> np.ndarray:
    return centred.T @ centred / (len(centred) - 1)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """H (D, rank) of a covariance (D, D); eigenvalues within rounding of 0 are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def _sum_of_roots(matrix: np.ndarray) -> float:
    return np.sqrt(np.linalg.eigvalsh(matrix).clip(min=0)).sum()
