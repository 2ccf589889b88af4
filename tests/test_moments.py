"""Mean and covariance in batches, against all features at once."""

import numpy as np
import pytest

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics import Moments, frechet_distance, frechet_distance_from_statistics


def moments_of(*batches):
    moments = Moments(batches[0].shape[1])
    for batch in batches:
        moments.add(batch)
    return moments


def assert_moments(moments, x):
    scale = np.abs(np.cov(x, rowvar=False)).max()
    assert moments.count == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        moments.covariance, np.cov(x, rowvar=False), rtol=0, atol=1e-12 * scale
    )


@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3], [64, 128, 192], [0, 100, 100]])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_moments_of_batches_are_those_of_all(cuts, offset):
    x = stream(0, "x").normal(size=(230, 9)) * np.arange(1, 10) + offset
    assert_moments(moments_of(*np.split(x, cuts)), x)


def test_merged_moments_are_those_of_all():
    x = stream(0, "x").normal(size=(120, 5)) + 3
    moments, other = moments_of(x[:50]), moments_of(x[50:80], x[80:])
    before = other.covariance.copy()
    moments.merge(other)
    moments.merge(Moments(5))
    assert_moments(moments, x)
    np.testing.assert_array_equal(other.covariance, before)
    empty = Moments(5)
    empty.merge(other)
    assert_moments(empty, x[50:])


def test_float32_batches_are_added_in_float64():
    x = (stream(0, "x").normal(size=(5000, 3)) + 1e4).astype(np.float32)
    assert_moments(moments_of(*np.split(x, 50)), x.astype(np.float64))


def test_a_large_offset_leaves_the_covariance():
    x = stream(0, "x").integers(0, 8, size=(256, 4)).astype(np.float64)
    moments = moments_of(*np.split(x + 2.0**20, 8))
    np.testing.assert_allclose(moments.covariance, np.cov(x, rowvar=False), rtol=1e-8)


def test_frechet_distance_from_moments():
    a, b = stream(0, "a").normal(size=(90, 6)), stream(0, "b").normal(size=(80, 6)) + 1
    of_a, of_b = moments_of(*np.split(a, 3)), moments_of(*np.split(b, 4))
    distance = frechet_distance_from_statistics(
        of_a.mean, of_a.covariance, of_b.mean, of_b.covariance
    )
    assert distance == pytest.approx(frechet_distance(a, b), rel=1e-10)


BAD = {
    "^batch has values that are not finite": np.array([[1.0, np.inf]]),
    r"shape \(2,\); it should be \(images, 2\)": np.zeros(2),
    r"shape \(4, 3\)": np.zeros((4, 3)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_batches_are_refused(message):
    moments = Moments(2)
    with pytest.raises(InputError, match=message):
        moments.add(BAD[message])
    assert moments.count == 0


def test_two_images_have_a_covariance():
    x = np.array([[0.0, 1.0], [2.0, 5.0]])
    np.testing.assert_array_equal(moments_of(x).covariance, [[2.0, 4.0], [4.0, 8.0]])


def test_covariance_of_one_image_and_other_features_are_refused():
    with pytest.raises(InputError, match="1 images was asked for"):
        _ = moments_of(np.zeros((1, 3))).covariance
    with pytest.raises(InputError, match="same extractor"):
        Moments(2).merge(Moments(3))
