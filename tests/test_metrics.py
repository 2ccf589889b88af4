"""Metrics where the answer is known."""

from contextlib import nullcontext

import numpy as np
import pytest
from scipy import linalg
from sklearn.metrics.pairwise import polynomial_kernel

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.frechet import (
    PreparedReference,
    feature_statistics,
    frechet_distance,
    frechet_distance_from_statistics,
)
from slimdit.evaluation.metrics.groups import balanced_groups
from slimdit.evaluation.metrics.inception_score import inception_score
from slimdit.evaluation.metrics.kid import discrepancies, kernel_inception_distance
from slimdit.evaluation.metrics.memorization import memorization
from slimdit.evaluation.metrics.neighbours import distance_blocks, squared_radii
from slimdit.evaluation.metrics.precision_recall import manifold_metrics
from slimdit.evaluation.metrics.probe import linear_probe, recognized


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


@pytest.mark.parametrize("num_images", [12, 40, 200])
def test_frechet_is_its_definition(num_images):
    """By singular values where a set has fewer images than its 24 features, else by eigenvalues."""
    mixing = normal("mixing", 24, 24)
    a, b = normal("a", num_images, 24) @ mixing, normal("b", 300, 24)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1])
    cross = np.sqrt(eigenvalues[np.abs(eigenvalues) > 1e-9].astype(complex)).real.sum()
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances)) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(distance, rel=1e-9)


def test_frechet_reads_float32_features_in_float64():
    x = normal("x", 50, 6).astype(np.float32)
    assert frechet_distance(x, x + 1000) == pytest.approx(6e6, rel=1e-6)


@pytest.mark.parametrize(("num_images", "num_features"), [(64, 6), (16, 60)])
def test_an_offset_of_all_features_costs_frechet_no_digit(num_images, num_features):
    """Whole numbers and a power of 2, so that the features and their means are exact."""
    shape = (num_images, num_features)
    a, b = (stream(0, side).integers(0, 8, size=shape).astype(np.float64) for side in "ab")
    offset = 2.0**30
    assert frechet_distance(a + offset, b + offset) == pytest.approx(
        frechet_distance(a, b), rel=1e-12
    )


def test_frechet_of_few_images_is_exact_where_their_variances_span_twelve_digits():
    axes, _ = np.linalg.qr(normal("axes", 30, 8))
    deviations_a = np.logspace(0, -6, 8)
    deviations_b = deviations_a[::-1]
    a = with_diagonal_covariance("a", 12, deviations_a**2) @ axes.T
    b = with_diagonal_covariance("b", 15, deviations_b**2) @ axes.T
    expected = np.square(deviations_a - deviations_b).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-13)


def statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


def openai_distance(a, b):
    """OpenAI's evaluator from features on: float32 means, and a square root of the product."""
    difference = np.mean(a, axis=0) - np.mean(b, axis=0)
    a, b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(linalg.sqrtm(a.dot(b)).real)
    return difference.dot(difference) + np.trace(a) + np.trace(b) - 2 * cross


def test_float32_mean_is_openais_evaluator():
    a = (100 + 3 * normal("a", 3000, 24)).astype(np.float32)
    b = (101 + 2 * normal("b", 2000, 24)).astype(np.float32)
    compatible = frechet_distance(a, b, mean_dtype="float32")
    assert compatible == pytest.approx(openai_distance(a, b), rel=1e-11)
    exact = frechet_distance(a, b)
    assert exact == frechet_distance(a.astype(np.float64), b.astype(np.float64))
    assert 1e-9 < abs(compatible / exact - 1) < 1e-4
    assert frechet_distance(b, a, mean_dtype="float32") == pytest.approx(compatible, rel=1e-11)


def test_without_full_rank_openais_evaluator_is_right_to_five_digits():
    a, b = (normal(side, 20, 64).astype(np.float32) for side in "ab")
    assert frechet_distance(a, b) == pytest.approx(openai_distance(a, b), abs=5e-5)


def test_frechet_from_statistics_is_that_from_features():
    mixing = normal("mixing", 24, 24)
    a, b = normal("a", 200, 24) @ mixing + 1, normal("b", 300, 24)
    distance = frechet_distance_from_statistics(*statistics(a), *statistics(b))
    assert distance == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert distance == pytest.approx(
        frechet_distance_from_statistics(*statistics(b), *statistics(a)), rel=1e-9
    )


def test_frechet_from_statistics_without_full_rank():
    a, b = normal("a", 10, 24), normal("b", 12, 24)
    distance = frechet_distance_from_statistics(*statistics(a), *statistics(b))
    assert distance == pytest.approx(frechet_distance(a, b), abs=1e-5)
    assert abs(frechet_distance_from_statistics(*statistics(a), *statistics(a))) < 1e-5


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_frechet_from_diagonal_statistics(scale):
    a, b = scale * np.array([4.0, 1.0, 0.0, 9.0]), scale * np.array([1.0, 1.0, 16.0, 0.0])
    mean = np.sqrt(scale) * np.arange(4.0)
    distance = frechet_distance_from_statistics(mean, np.diag(a), 0 * mean, np.diag(b))
    assert distance == pytest.approx(scale * (14 + 1 + 16 + 9), rel=1e-12)
    zero = np.zeros((4, 4))
    assert frechet_distance_from_statistics(mean, zero, mean, np.diag(b)) == b.sum()


def test_frechet_from_statistics_takes_negative_eigenvalues_as_0():
    zero, nearly_positive = np.zeros(2), np.diag([1.0, -1e-6])
    distance = frechet_distance_from_statistics(zero, np.eye(2), zero, nearly_positive)
    assert distance == pytest.approx(1 - 1e-6, rel=1e-12)


def test_frechet_reads_float32_statistics_in_float64():
    a, b = (statistics(100 + normal(side, 40, 6)) for side in "ab")
    a, b = ([array.astype(np.float32) for array in side] for side in (a, b))
    wide = (array.astype(np.float64) for array in (*a, *b))
    assert frechet_distance_from_statistics(*a, *b) == frechet_distance_from_statistics(*wide)


def test_statistics_of_features_are_their_mean_and_covariance():
    x = (normal("x", 500, 3) + 1e4).astype(np.float32)
    mean, covariance = feature_statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_a_covariance_may_differ_from_its_transpose_by_rounding_alone(scale):
    zero = np.zeros(2)
    for asymmetry, refused in ((1e-9, False), (1e-7, True)):
        covariance = scale * changed(np.eye(2), asymmetry, 0, 1)
        with pytest.raises(InputError) if refused else nullcontext():
            frechet_distance_from_statistics(zero, covariance, zero, np.eye(2))


def changed(matrix, value, *index):
    matrix = matrix.copy()
    matrix[index] = value
    return matrix


BAD_STATISTICS = {
    "covariance_a has values that are not finite": (np.zeros(2), changed(np.eye(2), np.nan, 0, 1)),
    "mean_a has values that are not finite": (np.array([0, np.inf]), np.eye(2)),
    "it should be symmetric": (np.zeros(2), changed(np.eye(2), 0.5, 0, 1)),
    r"shape \(2,\) and covariance_a \(3, 3\)": (np.zeros(2), np.eye(3)),
    r"shape \(2, 2\) and covariance_a": (np.eye(2), np.eye(2)),
    r"shape \(0,\) and covariance_a": (np.zeros(0), np.zeros((0, 0))),
    "mean_a has 3 features and mean_b has 2": (np.zeros(3), np.eye(3)),
}


@pytest.mark.parametrize("message", BAD_STATISTICS)
def test_bad_statistics_are_refused(message):
    with pytest.raises(InputError, match=message):
        frechet_distance_from_statistics(*BAD_STATISTICS[message], np.zeros(2), np.eye(2))


@pytest.mark.parametrize("bad", [0, 1])
def test_refused_statistics_of_the_second_set_are_named(bad):
    names, good = ("mean_b", "covariance_b"), (np.zeros(2), np.eye(2))
    second = [np.full_like(x, np.nan) if i == bad else x for i, x in enumerate(good)]
    with pytest.raises(InputError, match=f"^{names[bad]} has values that are not finite"):
        frechet_distance_from_statistics(*good, *second)


@pytest.mark.parametrize(("num_images", "num_features"), MANY_AND_FEW)
def test_prepared_reference_gives_the_same_distances(num_images, num_features):
    reference = normal("reference", num_images, num_features)
    prepared = PreparedReference(reference)
    for size in (5, 20, 70):
        x = normal("x", size, num_features) + 0.5
        assert prepared.distance(x) == pytest.approx(frechet_distance(reference, x), rel=1e-9)
        kept = np.arange(size) % 3 > 0
        expected = frechet_distance(reference, x[kept])
        whole, of_kept = prepared.distances(x, [slice(None), kept])
        assert whole == prepared.distance(x)
        assert of_kept == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InputError, match="same extractor"):
        prepared.distance(normal("x", 5, num_features + 1))


@pytest.mark.parametrize("num_images", [12, 60])
def test_frechet_of_features_that_depend_on_each_other(num_images):
    x, y = normal("x", num_images, 4), normal("y", num_images + 5, 4) + 1
    embedding, _ = np.linalg.qr(normal("embedding", 16, 4))
    rotated = frechet_distance(x @ embedding.T, y @ embedding.T)
    assert rotated == pytest.approx(frechet_distance(x, y), abs=1e-6)
    assert abs(frechet_distance(x @ embedding.T, x @ embedding.T)) < 1e-10


def test_frechet_of_constant_features_is_the_squared_distance_of_means():
    a, b = np.full((30, 3), 2.0), np.full((20, 3), 4.0)
    assert frechet_distance(a, b) == 12.0
    assert frechet_distance(a[:2], b[:2]) == 12.0
    assert PreparedReference(a).distance(b[:2]) == 12.0


def probabilities(what, *shape):
    p = np.exp(2 * normal(what, *shape))
    return p / p.sum(1, keepdims=True)


def naive_divergence(p):
    marginal = p.mean(0)
    return np.mean([sum(q * np.log(q / m) for q, m in zip(x, marginal, strict=True)) for x in p])


def test_inception_score_is_that_of_a_naive_loop():
    p = probabilities("logits", 25, 6)
    scores = [np.exp(naive_divergence(split)) for split in (p[:10], p[10:20], p[20:])]
    score = inception_score(p, split_size=10)
    assert score.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert score.std == pytest.approx(np.std(scores), rel=1e-12)
    assert inception_score(p).std == 0.0
    assert inception_score(p, split_size=1)[:2] == pytest.approx((1.0, 0.0), abs=1e-12)


def test_corrected_inception_score_is_twice_the_whole_less_the_halves():
    p, labels = probabilities("logits", 25, 6), np.arange(25) % 5
    half = balanced_groups(25, 2, stream(3, "inception-score-halves"), labels)
    halves = np.mean([naive_divergence(p[half == i]) for i in range(2)])
    corrected = inception_score(p, seed=3, labels=labels).corrected
    assert corrected == pytest.approx(np.exp(2 * naive_divergence(p) - halves), rel=1e-12)


def test_inception_score_is_by_default_of_splits_of_5000_and_of_the_first_seed():
    p = probabilities("many", 5002, 3)
    assert inception_score(p) == inception_score(p, split_size=5000, seed=0)
    assert inception_score(p) != inception_score(p, split_size=5001)
    assert inception_score(p) != inception_score(p, seed=1)


def test_inception_score_of_certain_and_of_uninformed_classifiers():
    certain = np.eye(7)[np.arange(70) % 7]
    assert inception_score(certain).mean == pytest.approx(7.0, rel=1e-12)
    with_a_class_of_no_image = np.pad(certain, [(0, 0), (0, 1)])
    assert inception_score(with_a_class_of_no_image).mean == pytest.approx(7.0, rel=1e-12)
    uninformed = np.full((40, 7), 1 / 7)
    assert inception_score(uninformed) == pytest.approx((1.0, 0.0, 1.0), abs=1e-12)


def test_corrected_inception_score_has_less_bias():
    p = stream(0, "many").dirichlet(np.full(30, 0.05), size=20_000)
    true = inception_score(p, split_size=len(p)).mean
    few = [inception_score(p[i * 200 :][:200], seed=i) for i in range(100)]
    raw, corrected = np.mean([s.mean for s in few]), np.mean([s.corrected for s in few])
    assert raw < 0.98 * true
    assert abs(corrected - true) < 0.2 * (true - raw)


def test_correction_of_the_inception_score_has_halves_of_equally_many_labels():
    labels = np.repeat(np.arange(10), 8)
    certain = np.eye(10)[labels]
    assert inception_score(certain, labels=labels).corrected == pytest.approx(10.0, rel=1e-12)
    assert inception_score(certain).corrected > 10.0


def test_probabilities_that_were_rounded_to_half_precision_are_taken():
    p = probabilities("rounded", 50, 6)
    assert inception_score(p.astype(np.float16)).mean == pytest.approx(
        inception_score(p).mean, rel=1e-3
    )


def test_bad_probabilities_are_refused():
    with pytest.raises(InputError, match="one for each of the 4 images"):
        inception_score(np.full((4, 2), 0.5), labels=[0, 1])
    for value in (0.5, 0.335):
        with pytest.raises(InputError, match="do not sum to 1"):
            inception_score(np.full((4, 3), value))
    with pytest.raises(InputError, match="without < 0"):
        inception_score(np.array([[1.5, -0.5], [0.5, 0.5]]))
    with pytest.raises(InputError, match="not finite"):
        inception_score(np.array([[np.nan, 0.5], [0.5, 0.5]]))


def test_kernel_distance_is_unbiased_between_halves_of_one_distribution():
    distances = [
        kernel_inception_distance(normal(f"a{i}", 60, 8), normal(f"b{i}", 60, 8), 1, 60, seed=0)[0]
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
    mean, std = kernel_inception_distance(a, b, num_subsets=3, subset_size=1000, seed=0)
    assert mean == pytest.approx(within - between * 2)
    assert std == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("num_a", "num_b", "size"), [(9, 12, 4), (4, 12, 9), (12, 4, 9), (9, 9, 2)]
)
def test_kernel_distance_is_the_mean_over_random_subsets(num_a, num_b, size):
    """Each as the set's own: a subset of the whole is the whole, in another order."""
    sets, distances = (normal("a", num_a, 3), normal("b", num_b, 3)), []
    drawn = min(num_a, num_b, size)
    for i in range(5):
        random = stream(7, "kid-subset", i)
        subsets = [x[random.choice(len(x), drawn, replace=False)] for x in sets]
        distances.append(kernel_inception_distance(*subsets, 1, drawn, seed=0)[0])
    expected = (np.mean(distances), np.std(distances))
    assert kernel_inception_distance(*sets, 5, size, seed=7) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_depends_on_the_seed_alone():
    a, b = normal("a", 100, 4), normal("b", 90, 4) + 0.5
    distance = kernel_inception_distance(a, b, 10, 30, seed=1)
    assert distance == kernel_inception_distance(a, b, 10, 30, seed=1)
    assert distance != kernel_inception_distance(a, b, 10, 30, seed=2)
    assert distance[0] > 0 and distance[1] > 0


def test_precision_is_high_and_recall_low_for_a_tight_cluster_in_a_wide_one():
    wide, tight = normal("wide", 300, 2), 0.05 * normal("tight", 300, 2)
    precision, recall = manifold_metrics(wide, tight, neighbours=3)[:2]
    assert precision > 0.95 and recall < 0.1
    assert manifold_metrics(tight, wide, neighbours=3)[:2] == (recall, precision)


def test_precision_and_recall_of_known_layouts():
    line = np.arange(6.0)[:, None]
    assert manifold_metrics(line, line, neighbours=1)[:2] == (1.0, 1.0)
    assert manifold_metrics(line, line + 100, neighbours=3)[:2] == (0.0, 0.0)
    # The line's balls reach from -1 to 6; the samples' radii are 0.5, 0.5, 1 and 97.
    samples = np.array([[4.5], [5.0], [6.0], [103.0]])
    assert manifold_metrics(line, samples, neighbours=1)[:2] == (3 / 4, 2 / 6)


def test_precision_and_recall_do_not_depend_on_the_rows_at_once(monkeypatch):
    a, b = normal("a", 50, 3), normal("b", 40, 3) + 1
    whole = manifold_metrics(a, b, neighbours=3)
    monkeypatch.setattr("slimdit.evaluation.metrics.neighbours.ROWS_AT_ONCE", 7)
    assert manifold_metrics(a, b, neighbours=3) == whole


def naive_manifold(reference, samples, k):
    def balls(points):
        distances = [sorted(np.linalg.norm(x - y) for y in points) for x in points]
        return [(x, own[k]) for x, own in zip(points, distances, strict=True)]  # own[0] is to x

    def held(points, others):
        of_others = balls(others)
        return np.array([[np.linalg.norm(x - y) <= r for y, r in of_others] for x in points])

    in_reference, in_samples = held(samples, reference), held(reference, samples)
    return (
        in_reference.any(1).mean(),
        in_samples.any(1).mean(),
        in_reference.sum() / (k * len(samples)),
        in_reference.any(0).mean(),
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("neighbours", [1, 3, 29])
def test_manifold_metrics_are_those_of_a_naive_loop(neighbours, offset, monkeypatch):
    monkeypatch.setattr("slimdit.evaluation.metrics.neighbours.ROWS_AT_ONCE", 7)
    reference, samples = normal("a", 30, 4), normal("b", 40, 4) * 0.8 + 0.5
    expected = naive_manifold(reference, samples, neighbours)
    metrics = manifold_metrics(reference + offset, samples + offset, neighbours)
    assert metrics == pytest.approx(expected, rel=1e-12)


def test_density_and_coverage_of_known_layouts():
    line = np.arange(6.0)[:, None]
    # With one neighbour every ball reaches 1 to both sides: an inner point is in 3, an end in 2.
    assert manifold_metrics(line, line, neighbours=1)[2:] == (16 / 6, 1.0)
    assert manifold_metrics(line, line + 100, neighbours=3)[2:] == (0.0, 0.0)
    samples = np.full((9, 1), 0.5)
    assert manifold_metrics(line, samples, neighbours=1)[2:] == (2.0, 2 / 6)


def test_an_outlier_of_the_reference_raises_precision_but_hardly_density():
    reference = np.vstack([normal("reference", 100, 2), [[40.0, 40.0]]])
    samples = normal("samples", 100, 2) + 15.0
    metrics = manifold_metrics(reference, samples, neighbours=3)
    assert metrics.precision == 1.0
    assert metrics.density < 0.5
    assert metrics.coverage < 0.05


def test_squared_distances_keep_their_digits_and_are_0_for_copies():
    x = normal("x", 40, 64) + 1e6
    ((_, distances),) = distance_blocks(x, x)
    expected = np.square(x[:, None] - x).sum(2)
    np.testing.assert_allclose(distances, expected, rtol=1e-10)
    assert (distances[expected == 0] == 0).all()


def test_offsets_of_single_features_cost_squared_distances_no_digits():
    x, offsets = stream(0, "x").integers(0, 8, size=(32, 5)).astype(np.float64), 2.0**30
    shifted = x + offsets * np.arange(5)
    ((_, distances),) = distance_blocks(shifted, shifted)
    np.testing.assert_allclose(distances, np.square(x[:, None] - x).sum(2), rtol=1e-12)


@pytest.mark.parametrize("neighbours", [1, 2, 40, 1099])
def test_radii_are_the_distances_to_the_sorted_neighbours(neighbours):
    x = normal("x", 1100, 2)
    distances = np.square(x[:, None] - x).sum(2)
    expected = np.sort(distances, axis=1)[:, neighbours]  # the first is to itself
    np.testing.assert_allclose(squared_radii(x, neighbours), expected, rtol=1e-9)


def test_copies_of_an_image_have_balls_without_extent():
    image, others = normal("image", 64), normal("others", 50, 64)
    metrics = manifold_metrics(np.vstack([others, image]), np.tile(image, (9, 1)), neighbours=3)
    assert (metrics.precision, metrics.recall) == (1.0, 1 / 51)


def test_memorization_of_new_images_and_of_copies():
    train, held_out, new = normal("t", 400, 5), normal("h", 400, 5), normal("n", 400, 5)
    as_new = memorization(train, new, held_out)
    assert as_new.nearest_train_distance_ratio == pytest.approx(1.0, abs=0.1)
    assert as_new.fraction_closer_than_held_out == pytest.approx(0.05, abs=0.03)
    assert memorization(train, train[:100], held_out) == (0.0, 1.0)
    half = memorization(train, np.vstack([train[:200] + 1e-6, new[:200]]), held_out)
    assert half.fraction_closer_than_held_out == pytest.approx(0.525, abs=0.02)
    assert half.nearest_train_distance_ratio < as_new.nearest_train_distance_ratio


def test_memorization_of_known_layouts():
    train, held_out = np.array([[0.0], [10.0]]), np.array([[2.0], [12.0]])
    samples = np.array([[1.0], [11.0], [7.0], [1.0], [12.0]])  # the last as close as held-out ones
    assert memorization(train, samples, held_out) == (0.5, 3 / 5)


def test_held_out_images_of_the_training_set_are_refused():
    train = normal("train", 40, 3)
    held_out = np.vstack([normal("held_out", 30, 3), train[:4]])
    with pytest.raises(InputError, match="has images of train, 4 of 34"):
        memorization(train, normal("samples", 10, 3), held_out)
    with pytest.raises(InputError, match="train has 3 features and held_out has 2"):
        memorization(train, normal("samples", 10, 3), held_out[:, :2])


def test_probe_reads_classes_that_a_line_separates():
    labels = np.repeat([2, 5, 7], 30)
    centres = {2: [0, 0], 5: [9, 0], 7: [0, 9]}
    features = normal("x", 90, 2) + np.array([centres[label] for label in labels])
    features = np.hstack([features, np.ones((90, 1))])
    probe = linear_probe(features[::2], labels[::2])
    assert recognized(probe, features[1::2], labels[1::2]).all()
    swapped = np.where(labels == 2, 5, labels)
    assert recognized(probe, features, swapped).mean() == pytest.approx(2 / 3)


GOOD = np.arange(12.0).reshape(6, 2) ** 1.5
BAD = {
    "not finite": np.array([[1.0, np.nan], [2.0, 3.0]]),
    r"shape \(6,\)": GOOD[:, 0],
    r"shape \(1, 2\)": GOOD[:1],
    "same extractor": GOOD[:, :1],
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize(
    ("metric", "names"),
    [
        (frechet_distance, ("features_a", "features_b")),
        (lambda a, b: kernel_inception_distance(a, b, 2, 2, 0), ("features_a", "features_b")),
        (lambda a, b: manifold_metrics(a, b, 1), ("reference", "samples")),
        (lambda a, b: memorization(a, b, a), ("train", "samples")),
        (lambda a, b: PreparedReference(a).distance(b), ("reference", "features")),
    ],
    ids=[
        *("frechet", "kernel", "manifold", "memorization", "prepared"),
    ],
)
def test_bad_features_are_refused_by_their_name(metric, names, message):
    for name, pair in zip(names, ((BAD[message], GOOD), (GOOD, BAD[message])), strict=True):
        with pytest.raises(InputError, match=rf"\b{name} has .*{message}"):
            metric(*pair)


@pytest.mark.parametrize("message", [m for m in BAD if m != "same extractor"])
def test_bad_features_of_one_set_are_refused_by_their_name(message):
    probe = linear_probe(GOOD, np.arange(6) % 2)
    for name, metric in (
        ("probabilities", inception_score),
        ("features", lambda x: linear_probe(x, np.arange(len(x)) % 2)),
        ("features", lambda x: recognized(probe, x, np.arange(len(x)) % 2)),
    ):
        with pytest.raises(InputError, match=f"^{name} has .*{message}"):
            metric(BAD[message])


@pytest.mark.parametrize("neighbours", [0, 6])
def test_bad_numbers_of_neighbours_are_refused(neighbours):
    with pytest.raises(InputError, match="with 6 images it should be 1 to 5"):
        manifold_metrics(GOOD, GOOD, neighbours)


def test_bad_labels_are_refused():
    with pytest.raises(InputError, match=r"^labels have shape \(5,\); .*each of the 6 images"):
        linear_probe(GOOD, np.zeros(5))
    with pytest.raises(InputError, match="one class only"):
        linear_probe(GOOD, np.zeros(6))
    probe = linear_probe(GOOD, np.repeat([0, 1], 3))
    with pytest.raises(InputError, match="label 4 is not among the 2 classes"):
        recognized(probe, GOOD, np.full(6, 4))


def test_discrepancies_without_each_group_are_those_of_the_other_images():
    x, y, groups = normal("x", 23, 4), normal("y", 31, 4) + 0.5, np.arange(23) % 5

    def kernels(a, b):
        return polynomial_kernel(a, b, degree=3, gamma=1 / 4, coef0=1)

    def discrepancy(a):
        pairs = (kernels(z, z)[~np.eye(len(z), dtype=bool)].mean() for z in (a, y))
        return sum(pairs) - 2 * kernels(a, y).mean()

    expected = [discrepancy(x), *(discrepancy(x[groups != group]) for group in range(5))]
    assert discrepancies(x, y, groups) == pytest.approx(expected, rel=1e-9)
