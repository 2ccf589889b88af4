"""How far a Fréchet distance of finitely many images is from what it stands for.

A bootstrap with replacement has no place here: its repeated images raise the distance by about as
much as the bias of the whole, so that its interval is centred on the wrong value. All of these
leave images out instead.
"""

from typing import NamedTuple

import numpy as np

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.checks import checked_pair
from slimdit.evaluation.metrics.frechet import PreparedReference, frechet_distance
from slimdit.evaluation.metrics.groups import balanced_groups

NUM_GROUPS = 20
CONFIDENCE = 0.95


class ExtrapolatedDistance(NamedTuple):
    raw: float
    corrected: float


class DistanceSpread(NamedTuple):
    distance: float
    standard_error: float


class DistanceDifference(NamedTuple):
    distance_a: float
    distance_b: float
    difference: float
    standard_error: float
    low: float
    high: float
    significant: bool


def extrapolated_frechet_distance(
    features_a: np.ndarray, features_b: np.ndarray, seed: int, labels_a=None, labels_b=None
) -> ExtrapolatedDistance:
    """The distance that infinitely many images of both sides would have.

    The bias is near c / N: corrected is 2 FD_N - FD_N/2, FD_N/2 the mean over disjoint random
    halves of both sets. With labels (N,) and (M,) the halves have equally many images of each
    class, as they should where the sets have. Half a set should have more images than features, or
    than the rank that matters: with fewer the bias falls more slowly than 1 / N, and corrected is
    still too high. It can be negative for sets of one distribution.
    """
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    _check_enough(min(len(a), len(b)), 2)
    half_a = balanced_groups(len(a), 2, stream(seed, "frechet-halves", 0), labels_a)
    half_b = balanced_groups(len(b), 2, stream(seed, "frechet-halves", 1), labels_b)
    raw = frechet_distance(a, b)
    halves = np.mean([frechet_distance(a[half_a == i], b[half_b == i]) for i in range(2)])
    return ExtrapolatedDistance(raw, float(2 * raw - halves))


def frechet_distance_spread(
    features: np.ndarray,
    reference: PreparedReference,
    seed: int,
    labels=None,
) -> DistanceSpread:
    """Distance of features (N, D) to the reference, and its standard error over other samples.

    Delete-group jackknife: sqrt((G - 1) / G sum_g (FD_g - mean)^2), FD_g the distance without the
    g-th of G random groups (20, or as many as have two images), which with labels (N,) have
    equally many images of each class. The reference counts as given. It says nothing of the bias,
    and is too wide where the bias is most of the distance.
    """
    projection = reference.project(features)
    groups = _deletion_groups(len(features), seed, labels)
    left_out = _left_out_distances(projection, groups)
    return DistanceSpread(projection.distance(), _jackknife_error(left_out))


def paired_difference(
    features_a: np.ndarray,
    features_b: np.ndarray,
    reference: PreparedReference,
    seed: int,
    labels=None,
) -> DistanceDifference:
    """Distance of A less distance of B, where image i of both has the same noise and label.

    Delete-group jackknife as in frechet_distance_spread, of the difference, with the same images
    left out of both: what A and B share cancels. low, high: 95 % interval, the difference -+
    t(G - 1) standard errors; significant: whether it is without 0. The difference of the biases is
    in it: small next to the difference where A and B have like covariances.
    Raises InputError for different numbers of images.
    """
    required = "image i of both should have the same noise and label"
    a, b = _checked_sides(features_a, features_b, required)
    groups = _deletion_groups(len(a), seed, labels)
    of_a, of_b = reference.project(a), reference.project(b)
    error = _jackknife_error(_left_out_distances(of_a, groups) - _left_out_distances(of_b, groups))
    return _difference(of_a.distance(), of_b.distance(), error, groups.max())


def independent_difference(
    features_a: np.ndarray,
    features_b: np.ndarray,
    reference: PreparedReference,
    seed: int,
    labels_a=None,
    labels_b=None,
) -> DistanceDifference:
    """Distance of A less distance of B, which share neither noise nor labels.

    As paired_difference, but the standard error is the root of the sum of both sides' squares, and
    the interval has the smaller of their degrees of freedom: it is wider. Raises InputError for
    different numbers of images, whose biases differ.
    """
    required = "distances can be compared only between as many"
    a, b = _checked_sides(features_a, features_b, required)
    of_a = frechet_distance_spread(a, reference, seed, labels_a)
    of_b = frechet_distance_spread(b, reference, seed, labels_b)
    error = float(np.hypot(of_a.standard_error, of_b.standard_error))
    return _difference(of_a.distance, of_b.distance, error, _num_groups(len(a)) - 1)


def _difference(distance_a, distance_b, error: float, degrees_of_freedom) -> DistanceDifference:
    difference = distance_a - distance_b
    margin = _t_quantile(degrees_of_freedom) * error
    return DistanceDifference(
        distance_a,
        distance_b,
        difference,
        error,
        low=difference - margin,
        high=difference + margin,
        significant=abs(difference) > margin,
    )


def _checked_sides(features_a, features_b, required: str) -> tuple[np.ndarray, np.ndarray]:
    """Both features (N, D); `required` is why there should be as many."""
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    if len(a) != len(b):
        raise InputError(f"features_a has {len(a)} images and features_b has {len(b)}; {required}.")
    return a, b


def _deletion_groups(num_images: int, seed: int, labels) -> np.ndarray:
    num_groups = _num_groups(num_images)
    _check_enough(num_images, num_groups)
    return balanced_groups(num_images, num_groups, stream(seed, "jackknife-groups"), labels)


def _num_groups(num_images: int) -> int:
    return min(NUM_GROUPS, num_images // 2)


def _left_out_distances(projection, groups: np.ndarray) -> np.ndarray:
    """Distance (G,) without each group."""
    return np.array([projection.distance(groups != g) for g in range(groups.max() + 1)])


def _jackknife_error(left_out: np.ndarray) -> float:
    return float(np.sqrt((len(left_out) - 1) * np.var(left_out)))


def _t_quantile(degrees_of_freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


def _check_enough(num_images: int, num_groups: int) -> None:
    if not 2 <= num_groups <= num_images // 2:
        raise InputError(
            f"{num_images} images were to be divided among {num_groups} groups; there should be "
            "at least 2 groups of at least 2 images."
        )
