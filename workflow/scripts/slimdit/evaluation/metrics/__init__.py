"""Measures of a set of images by their features; float64 throughout.

Features are arrays (number of images, number of features). Raises InputError for features that
are not finite, of another rank, or too few.
"""

from slimdit.evaluation.metrics.frechet import (
    PreparedReference,
    cross_term_by_eigenvalues,
    cross_term_by_svd,
    frechet_distance,
    frechet_distance_from_statistics,
)
from slimdit.evaluation.metrics.inception_score import InceptionScore, inception_score
from slimdit.evaluation.metrics.kid import kernel_inception_distance
from slimdit.evaluation.metrics.memorization import Memorization, memorization
from slimdit.evaluation.metrics.moments import Moments
from slimdit.evaluation.metrics.precision_recall import (
    Manifold,
    density_coverage,
    manifold_metrics,
    precision_recall,
)
from slimdit.evaluation.metrics.probe import class_accuracy, linear_probe
from slimdit.evaluation.metrics.uncertainty import (
    DistanceDifference,
    DistanceSpread,
    ExtrapolatedDistance,
    extrapolated_frechet_distance,
    frechet_distance_spread,
    independent_difference,
    paired_difference,
)

__all__ = [
    "DistanceDifference",
    "DistanceSpread",
    "ExtrapolatedDistance",
    "InceptionScore",
    "Manifold",
    "Memorization",
    "Moments",
    "PreparedReference",
    "class_accuracy",
    "cross_term_by_eigenvalues",
    "cross_term_by_svd",
    "density_coverage",
    "extrapolated_frechet_distance",
    "frechet_distance",
    "frechet_distance_from_statistics",
    "frechet_distance_spread",
    "inception_score",
    "independent_difference",
    "kernel_inception_distance",
    "linear_probe",
    "manifold_metrics",
    "memorization",
    "paired_difference",
    "precision_recall",
]
