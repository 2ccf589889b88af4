"""Measures of a set of images by their features; float64 throughout.

Features are arrays (number of images, number of features). Raises InputError for features that
are not finite, of another rank, or too few.
"""

from slimdit.metrics.copies import Memorisation, memorisation
from slimdit.metrics.frechet import (
    PreparedReference,
    cross_term_by_eigenvalues,
    cross_term_by_svd,
    frechet_distance,
    frechet_distance_from_statistics,
)
from slimdit.metrics.inception import InceptionScore, inception_score
from slimdit.metrics.kernel import kernel_distance
from slimdit.metrics.manifold import (
    Manifold,
    density_coverage,
    manifold_metrics,
    precision_recall,
)
from slimdit.metrics.moments import Moments
from slimdit.metrics.probe import class_accuracy, linear_probe
from slimdit.metrics.uncertainty import (
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
    "Memorisation",
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
    "kernel_distance",
    "linear_probe",
    "manifold_metrics",
    "memorisation",
    "paired_difference",
    "precision_recall",
]
