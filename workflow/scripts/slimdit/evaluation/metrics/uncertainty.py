"""How far a Fréchet distance of finitely many images is from what it stands for.

A bootstrap with replacement has no place here: its repeated images raise the distance by about as
much as the bias of the whole, so that its interval is centred on the wrong value. All of these
leave images out instead.
"""

import numpy as np

from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.checks import checked_pair
from slimdit.evaluation.metrics.frechet import frechet_distance
from slimdit.evaluation.metrics.groups import balanced_groups

NUM_GROUPS = 20


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


def jackknife_groups(num_images: int, seed: int, labels=None) -> np.ndarray:
    """The group (N,) with which each image is left out: 20, or as many as have two images.

    With labels (N,) they have equally many images of each class.
    """
    num_groups = min(NUM_GROUPS, num_images // 2)
    return balanced_groups(num_images, num_groups, stream(seed, "jackknife-groups"), labels)


def all_and_without(groups: np.ndarray) -> list:
    """Indices of images: of all, then of all but those of each of the groups (N,)."""
    return [slice(None), *(groups != group for group in range(groups.max() + 1))]


def resampled_mean(values: np.ndarray, groups: np.ndarray) -> list[float]:
    """The mean of values (N,), then without each of the groups (N,)."""
    return [float(values[kept].mean()) for kept in all_and_without(groups)]


def jackknife(values: list[float], drawn_from: list) -> dict:
    """What a result says of the spread of a statistic, from its values by `all_and_without`.

    drawn_from: what two results have in common if image i is drawn alike in both.
    """
    return {"whole": values[0], "left_out": values[1:], "drawn_from": drawn_from}


def jackknife_error(left_out) -> float:
    """Standard error over other samples of a statistic, from its values (G,) without each group.

    Delete-group jackknife: sqrt((G - 1) / G sum_g (value_g - mean)^2). The reference counts as
    given. It says nothing of a bias, and is too wide where the bias is most of the statistic.
    """
    return float(np.sqrt((len(left_out) - 1) * np.var(left_out)))
