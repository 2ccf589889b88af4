"""How far a Fréchet distance of finitely many images is from what it stands for.

A bootstrap with replacement has no place here: its repeated images raise the distance by about as
much as the bias of the whole, so that its interval is centred on the wrong value. All of these
leave images out instead.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.checks import checked_features, checked_pair
from slimdit.evaluation.metrics.frechet import PreparedReference, frechet_distance
from slimdit.evaluation.metrics.groups import balanced_groups

NUM_GROUPS = 20
CONFIDENCE = 0.95


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
) -> float:
    """Estimate of the distance that infinitely many images of both sides would have.

    The bias is near c / N: the estimate is 2 FD_N - FD_N/2, FD_N/2 the mean over disjoint random
    halves of both sets. With labels (N,) and (M,) the halves have equally many images of each
    class, as they should where the sets have. Half a set should have more images than features, or
    than the rank that matters: with fewer the bias falls more slowly than 1 / N, and the
    estimate is still too high. It can be negative for sets of one distribution.
    """
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    half_a = balanced_groups(len(a), 2, stream(seed, "frechet-halves", 0), labels_a)
    half_b = balanced_groups(len(b), 2, stream(seed, "frechet-halves", 1), labels_b)
    halves = np.mean([frechet_distance(a[half_a == i], b[half_b == i]) for i in range(2)])
    return float(2 * frechet_distance(a, b) - halves)


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
    distance, left_out = _leave_groups_out(features, reference, seed, labels)
    return DistanceSpread(distance, _jackknife_error(left_out))


def distance_difference(
    features_a: np.ndarray,
    features_b: np.ndarray,
    reference: PreparedReference,
    seed: int,
    labels_a=None,
    labels_b=None,
    paired: bool = False,
) -> DistanceDifference:
    """Distance of A less distance of B, and whether it is more than chance.

    Delete-group jackknife as in frechet_distance_spread. paired: image i of both has the same noise
    and label; the same images are left out of both for the error of the difference, so that what A
    and B share cancels. Otherwise the error is the root of the sum of both sides' squares. low,
    high: 95 % interval, the difference -+ t(G - 1) standard errors; significant: whether it is
    without 0. The difference of the biases is in it: small next to the difference where A and B
    have like covariances. Raises InputError for different numbers of images, whose biases differ.
    """
    a, b = checked_pair(features_a, features_b, "features_a", "features_b")
    if len(a) != len(b):
        raise InputError(
            f"features_a has {len(a)} images and features_b has {len(b)}; "
            "distances can be compared only between as many."
        )
    distance_a, left_out_a = _leave_groups_out(a, reference, seed, labels_a)
    distance_b, left_out_b = _leave_groups_out(b, reference, seed, labels_b)
    if paired:
        error = _jackknife_error(left_out_a - left_out_b)
    else:
        error = float(np.hypot(_jackknife_error(left_out_a), _jackknife_error(left_out_b)))
    difference = distance_a - distance_b
    margin = float(stdtrit(len(left_out_a) - 1, (1 + CONFIDENCE) / 2)) * error
    return DistanceDifference(
        distance_a,
        distance_b,
        difference,
        error,
        low=difference - margin,
        high=difference + margin,
        significant=abs(difference) > margin,
    )


def _leave_groups_out(
    features: np.ndarray, reference: PreparedReference, seed: int, labels
) -> tuple[float, np.ndarray]:
    """Distance of features (N, D), and distances (G,) without each group of images."""
    num_images = len(checked_features(features, "features"))
    num_groups = min(NUM_GROUPS, num_images // 2)
    groups = balanced_groups(num_images, num_groups, stream(seed, "jackknife-groups"), labels)
    subsets = [slice(None), *(groups != group for group in range(num_groups))]
    distance, *left_out = reference.distances(features, subsets)
    return distance, np.array(left_out)


def _jackknife_error(left_out: np.ndarray) -> float:
    return float(np.sqrt((len(left_out) - 1) * np.var(left_out)))
