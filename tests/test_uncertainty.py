"""Corrections and intervals of Fréchet distances, against simulated truth."""

import numpy as np
import pytest

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.frechet import PreparedReference, frechet_distance
from slimdit.evaluation.metrics.groups import balanced_groups
from slimdit.evaluation.metrics.uncertainty import (
    all_and_without,
    extrapolated_frechet_distance,
    jackknife_error,
    jackknife_groups,
)


def normal(what, *shape, index=0):
    return stream(0, what, index).normal(size=shape)


def pair(num_images, num_features, index, shared=0.8):
    """Two sets of one distribution whose images i are alike: correlation shared^2."""
    both = shared * normal("both", num_images, num_features, index=index)
    own = np.sqrt(1 - shared**2)
    return tuple(both + own * normal(side, num_images, num_features, index=index) for side in "ab")


def left_out_distances(features, reference, groups):
    distance, *left_out = reference.distances(features, all_and_without(groups))
    return distance, left_out


def spread(features, reference, seed, labels=None):
    """Distance to the reference, and its standard error over other samples."""
    groups = jackknife_groups(len(features), seed, labels)
    distance, left_out = left_out_distances(features, reference, groups)
    return distance, jackknife_error(left_out)


def paired(a, b, reference, seed, labels=None):
    """Difference of the distances of A and B, and its standard error by pairs of images."""
    groups = jackknife_groups(len(a), seed, labels)
    (distance_a, of_a), (distance_b, of_b) = (
        left_out_distances(x, reference, groups) for x in (a, b)
    )
    return distance_a - distance_b, jackknife_error(np.subtract(of_a, of_b))


T = 2.0930241  # of a 95 % interval with 19 degrees of freedom


def test_groups_have_equal_sizes_and_equally_many_of_each_label():
    labels = np.arange(103) % 7
    groups = balanced_groups(103, 4, stream(0, "groups"), labels)
    counts = np.array([np.bincount(labels[groups == g], minlength=7) for g in range(4)])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(1)) <= 1
    unlabelled = balanced_groups(103, 4, stream(0, "groups"))
    assert sorted(np.bincount(unlabelled)) == [25, 26, 26, 26]
    assert (groups == balanced_groups(103, 4, stream(0, "groups"), labels)).all()
    assert (groups != balanced_groups(103, 4, stream(1, "groups"), labels)).any()


def test_images_of_one_label_take_turns_in_random_order():
    labels = np.arange(103) % 7
    order = stream(0, "groups").permutation(103)
    by_label = [i for label in range(7) for i in order if labels[i] == label]
    groups = balanced_groups(103, 4, stream(0, "groups"), labels)
    assert groups[by_label].tolist() == [i % 4 for i in range(103)]


def test_extrapolation_removes_most_of_the_bias():
    num_features = 20
    truth = num_features * (0.1**2 + 0.3**2)
    raw, corrected = [], []
    for i in range(30):
        a = normal("a", 400, num_features, index=i)
        b = 1.3 * normal("b", 400, num_features, index=i) + 0.1
        raw.append(frechet_distance(a, b))
        corrected.append(extrapolated_frechet_distance(a, b, seed=i))
    raw, corrected = np.mean(raw), np.mean(corrected)
    assert raw > 1.2 * truth
    assert abs(corrected - truth) < 0.15 * (raw - truth)


def test_extrapolation_is_twice_the_whole_less_the_halves():
    a, b = normal("a", 40, 3), normal("b", 60, 3) + 1
    labels, labels_b = np.repeat([0, 1], 20), np.arange(60) % 3
    a[20:] += 9
    estimate = extrapolated_frechet_distance(a, b, seed=3, labels_a=labels, labels_b=labels_b)
    half_a = balanced_groups(40, 2, stream(3, "frechet-halves", 0), labels)
    half_b = balanced_groups(60, 2, stream(3, "frechet-halves", 1), labels_b)
    halves = [frechet_distance(a[half_a == i], b[half_b == i]) for i in range(2)]
    expected = 2 * frechet_distance(a, b) - np.mean(halves)
    assert estimate == pytest.approx(expected, rel=1e-12)
    assert np.bincount(labels[half_a == 0]).tolist() == [10, 10]


def test_extrapolation_needs_four_images():
    estimate = extrapolated_frechet_distance(normal("a", 4, 2), normal("b", 4, 2), seed=0)
    assert np.isfinite(estimate)


def test_spread_is_that_of_other_samples():
    reference = PreparedReference(normal("reference", 300, 6))
    spreads = [spread(normal("x", 150, 6, index=i) + 0.4, reference, i) for i in range(60)]
    distances, errors = np.array(spreads).T
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.std(distances), rel=0.25)


@pytest.mark.parametrize(("num_images", "num_groups"), [(13, 6), (60, 20)])
def test_errors_are_those_of_distances_without_each_group(num_images, num_groups):
    """Of 20 groups, or as many as have two images."""
    reference, labels = normal("reference", 40, 16), np.arange(num_images) % 2
    x = normal("x", num_images, 16)
    groups = balanced_groups(num_images, num_groups, stream(7, "jackknife-groups"), labels)
    assert (jackknife_groups(num_images, 7, labels) == groups).all()
    expected = [frechet_distance(x[groups != g], reference) for g in range(num_groups)]
    distance, left_out = left_out_distances(x, PreparedReference(reference), groups)
    assert distance == pytest.approx(frechet_distance(x, reference), rel=1e-9)
    assert left_out == pytest.approx(expected, rel=1e-7)
    assert jackknife_error(left_out) == np.sqrt((num_groups - 1) * np.var(left_out))


@pytest.mark.parametrize(("num_images", "num_features"), [(120, 4), (30, 40)])
def test_interval_holds_no_difference_in_19_of_20(num_images, num_features):
    held = []
    for i in range(100):
        a, b = pair(num_images, num_features, index=i)
        reference = PreparedReference(normal("reference", num_images, num_features, index=i))
        difference, error = paired(a, b, reference, seed=i)
        held.append(abs(difference) <= T * error)
    assert np.mean(held) >= 0.88


def test_interval_holds_the_true_difference():
    reference = PreparedReference(normal("reference", 4000, 4))
    truth = 4 * 0.3**2
    held = []
    for i in range(100):
        a, b = pair(200, 4, index=i)
        difference, error = paired(a + 0.3, b, reference, seed=i)
        held.append(abs(difference - truth) <= T * error)
    assert np.mean(held) >= 0.88


def test_a_clear_difference_is_found():
    reference, labels = PreparedReference(normal("reference", 300, 5)), np.arange(200) % 10
    for i in range(20):
        a, b = pair(200, 5, index=i)
        difference, error = paired(a + 0.5, b, reference, i, labels)
        assert difference > T * error


def test_pairs_of_like_images_have_a_small_error():
    reference = PreparedReference(normal("reference", 300, 5))
    (_, alike), (_, unlike) = (
        paired(*pair(200, 5, index=0, shared=shared), reference, seed=0) for shared in (0.999, 0.0)
    )
    assert alike < 0.3 * unlike


def test_results_depend_on_the_seed_alone():
    (a, b), reference = pair(100, 4, index=0), PreparedReference(normal("reference", 100, 4))
    for estimate in (
        lambda seed: extrapolated_frechet_distance(a, b, seed),
        lambda seed: spread(a, reference, seed),
    ):
        assert estimate(1) == estimate(1)
        assert estimate(1) != estimate(2)


GOOD = normal("good", 50, 2)
REFERENCE = PreparedReference(GOOD)
BAD = {
    "not finite": np.where(GOOD > 1, np.nan, GOOD),
    r"shape \(50,\)": GOOD[:, 0],
    r"shape \(1, 2\)": GOOD[:1],
    "same extractor": GOOD[:, :1],
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize(
    ("name", "estimate"),
    [
        ("features_a", lambda x: extrapolated_frechet_distance(x, GOOD, 0)),
        ("features_b", lambda x: extrapolated_frechet_distance(GOOD, x, 0)),
        ("features", lambda x: left_out_distances(x, REFERENCE, np.arange(len(x)) % 2)),
    ],
)
def test_bad_features_are_refused_by_their_name(name, estimate, message):
    with pytest.raises(InputError, match=rf"\b{name} has .*{message}"):
        estimate(BAD[message])


def test_features_unlike_the_reference_are_refused():
    with pytest.raises(InputError, match="features has 1 features and reference has 2"):
        spread(GOOD[:, :1], REFERENCE, 0)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="one for each of the 50 images"):
        jackknife_groups(50, seed=0, labels=np.zeros(49))
    with pytest.raises(InputError, match="3 images were to be divided"):
        extrapolated_frechet_distance(GOOD, GOOD[:3], seed=0)
