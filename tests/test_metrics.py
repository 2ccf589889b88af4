"""Metrics where the answer is known."""

import numpy as np
import pytest

from slimdit.errors import InputError
from slimdit.metrics import (
    class_accuracy,
    cross_term_by_eigenvalues,
    cross_term_by_svd,
    frechet_distance,
    kernel_distance,
    linear_probe,
    precision_recall,
)
from slimdit.randomness import stream


def normal(what, *shape):
    return stream(0, what).normal(size=shape)


def with_diagonal_covariance(what, num_images, variances):
    """Features whose sample covariance is exactly diagonal and whose mean is exactly 0."""
    x = normal(what, num_images, len(variances))
    q, _ = np.linalg.qr(x - x.mean(0))
    return q * np.sqrt(np.array(variances) * (num_images - 1))


MANY_AND_FEW = [(60, 7), (7, 60), (8, 7), (30, 1)]


def test_frechet_of_equal_covariances_is_the_squared_distance_of_means():
    x, shift = normal("x", 50, 6), normal("shift", 6)
    assert frechet_distance(x, x + shift) == pytest.approx(np.square(shift).sum(), abs=1e-10)


def test_frechet_of_commuting_covariances():
    variances_a, variances_b = np.array([4.0, 1.0, 0.25, 9.0]), np.array([1.0, 1.0, 16.0, 4.0])
    a = with_diagonal_covariance("a", 40, variances_a)
    b = with_diagonal_covariance("b", 30, variances_b) + 2.0
    expected = 4 * 2.0**2 + np.square(np.sqrt(variances_a) - np.sqrt(variances_b)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_one_feature_is_that_of_two_normal_distributions():
    a, b = normal("a", 20, 1), 3 * normal("b", 35, 1) + 1
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("num_images", "num_features"), MANY_AND_FEW)
def test_frechet_to_itself_is_zero(num_images, num_features):
    x = normal("x", num_images, num_features)
    assert abs(frechet_distance(x, x)) < 1e-10
    assert abs(frechet_distance(x, x[::-1])) < 1e-10


def test_frechet_with_a_constant_feature():
    x, y = normal("x", 50, 5), normal("y", 40, 5)
    x[:, 2] = y[:, 2] = 3.0
    others = [0, 1, 3, 4]
    expected = frechet_distance(x[:, others], y[:, others])
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("num_images", "num_features"), MANY_AND_FEW)
def test_frechet_does_not_see_rotation_translation_order_or_sides(num_images, num_features):
    a, b = normal("a", num_images, num_features), 2 * normal("b", num_images + 3, num_features) + 1
    distance = frechet_distance(a, b)
    rotation, _ = np.linalg.qr(normal("rotation", num_features, num_features))
    shift = normal("shift", num_features)
    permutation = stream(0, "permutation").permutation(num_features)
    for same in (
        frechet_distance(b, a),
        frechet_distance(a @ rotation, b @ rotation),
        frechet_distance(a + shift, b + shift),
        frechet_distance(a[:, permutation], b[:, permutation]),
        frechet_distance(a[::-1], b),
    ):
        assert same == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("num_images", [40, 200])
def test_routes_agree_with_each_other_and_with_the_definition(num_images):
    mixing = normal("mixing", 24, 24)
    a, b = normal("a", num_images, 24) @ mixing, normal("b", 300, 24)
    a, b = a - a.mean(0), b - b.mean(0)
    product = np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)
    definition = np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum()
    assert cross_term_by_svd(a, b) == pytest.approx(definition, rel=1e-9)
    assert cross_term_by_eigenvalues(a, b) == pytest.approx(definition, rel=1e-9)


def test_routes_agree_without_full_rank():
    a, b = normal("a", 10, 24), normal("b", 300, 24)
    a, b = a - a.mean(0), b - b.mean(0)
    svd, eigenvalues = cross_term_by_svd(a, b), cross_term_by_eigenvalues(a, b)
    assert eigenvalues == pytest.approx(svd, abs=1e-5)


def test_frechet_reads_float32_features_in_float64():
    x = normal("x", 50, 6).astype(np.float32)
    assert frechet_distance(x, x + 1000) == pytest.approx(6e6, rel=1e-6)


def test_kernel_distance_is_unbiased_between_halves_of_one_distribution():
    distances = [
        kernel_distance(normal(f"a{i}", 60, 8), normal(f"b{i}", 60, 8), 1, 60, seed=0)[0]
        for i in range(200)
    ]
    standard_error = np.std(distances) / np.sqrt(len(distances))
    assert abs(np.mean(distances)) < 3 * standard_error
    assert min(distances) < 0 < max(distances)


def test_kernel_distance_of_whole_sets_is_the_sum_over_pairs():
    a, b = normal("a", 5, 3), normal("b", 5, 3) + 1
    kernel = np.vectorize(lambda i, j, x, y: (x[i] @ y[j] / 3 + 1) ** 3, excluded=[2, 3])
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    within = np.mean([kernel(i, j, x, x) for x in (a, b) for i, j in pairs]) * 2
    between = np.mean([kernel(i, j, a, b) for i in range(5) for j in range(5)])
    mean, std = kernel_distance(a, b, num_subsets=3, subset_size=1000, seed=0)
    assert mean == pytest.approx(within - between * 2)
    assert std == pytest.approx(0, abs=1e-12)


def test_kernel_distance_depends_on_the_seed_alone():
    a, b = normal("a", 100, 4), normal("b", 90, 4) + 0.5
    distance = kernel_distance(a, b, 10, 30, seed=1)
    assert distance == kernel_distance(a, b, 10, 30, seed=1)
    assert distance != kernel_distance(a, b, 10, 30, seed=2)
    assert distance[0] > 0 and distance[1] > 0


def test_precision_is_high_and_recall_low_for_a_tight_cluster_in_a_wide_one():
    wide, tight = normal("wide", 300, 2), 0.05 * normal("tight", 300, 2)
    precision, recall = precision_recall(wide, tight, neighbours=3)
    assert precision > 0.95 and recall < 0.1
    assert precision_recall(tight, wide, neighbours=3) == (recall, precision)


def test_precision_and_recall_of_known_layouts():
    line = np.arange(6.0)[:, None]
    assert precision_recall(line, line, neighbours=1) == (1.0, 1.0)
    assert precision_recall(line, line + 100, neighbours=3) == (0.0, 0.0)
    # The line's balls reach from -1 to 6; the samples' radii are 0.5, 0.5, 1 and 97.
    samples = np.array([[4.5], [5.0], [6.0], [103.0]])
    assert precision_recall(line, samples, neighbours=1) == (3 / 4, 2 / 6)


def test_precision_and_recall_do_not_depend_on_the_rows_at_once(monkeypatch):
    a, b = normal("a", 50, 3), normal("b", 40, 3) + 1
    whole = precision_recall(a, b, neighbours=3)
    monkeypatch.setattr("slimdit.metrics.ROWS_AT_ONCE", 7)
    assert precision_recall(a, b, neighbours=3) == whole


def test_probe_reads_classes_that_a_line_separates():
    labels = np.repeat([2, 5, 7], 30)
    centres = {2: [0, 0], 5: [9, 0], 7: [0, 9]}
    features = normal("x", 90, 2) + np.array([centres[label] for label in labels])
    features = np.hstack([features, np.ones((90, 1))])
    probe = linear_probe(features[::2], labels[::2])
    assert class_accuracy(probe, features[1::2], labels[1::2]) == 1.0
    swapped = np.where(labels == 2, 5, labels)
    assert class_accuracy(probe, features, swapped) == pytest.approx(2 / 3)


GOOD = np.arange(12.0).reshape(6, 2) ** 1.5
BAD = {
    "not finite": np.array([[1.0, np.nan], [2.0, 3.0]]),
    r"shape \(6,\)": GOOD[:, 0],
    r"shape \(1, 2\)": GOOD[:1],
    "same extractor": GOOD[:, :1],
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize(
    "metric",
    [
        frechet_distance,
        lambda a, b: kernel_distance(a, b, 2, 2, 0),
        lambda a, b: precision_recall(a, b, 1),
    ],
    ids=["frechet", "kernel", "precision_recall"],
)
def test_bad_features_are_refused(metric, message):
    with pytest.raises(InputError, match=message):
        metric(GOOD, BAD[message])
    with pytest.raises(InputError, match=message):
        metric(BAD[message], GOOD)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="it should be 1 to 5"):
        precision_recall(GOOD, GOOD, neighbours=6)
    with pytest.raises(InputError, match="0 subsets"):
        kernel_distance(GOOD, GOOD, 0, 2, seed=0)
    with pytest.raises(InputError, match="1 images"):
        kernel_distance(GOOD, GOOD, 1, 1, seed=0)
    with pytest.raises(InputError, match="with 6 images it should be 1 to 5"):
        precision_recall(GOOD, GOOD, neighbours=0)


def test_bad_labels_are_refused():
    with pytest.raises(InputError, match="one for each of the 6 images"):
        linear_probe(GOOD, np.zeros(5))
    with pytest.raises(InputError, match="one class only"):
        linear_probe(GOOD, np.zeros(6))
    probe = linear_probe(GOOD, np.repeat([0, 1], 3))
    with pytest.raises(InputError, match="label 4 is not among the 2 classes"):
        class_accuracy(probe, GOOD, np.full(6, 4))
