"""Streams depend on their arguments alone."""

import numpy as np
import pytest

from slimdit.core.randomness import BLOCK, normal_rows, stream


def draws(*arguments, count=1000):
    return stream(*arguments).standard_normal(count)


def test_stream_is_a_function_of_its_arguments():
    expected = draws(0, "noise", 3)
    draws(0, "noise", 2)
    assert np.array_equal(draws(0, "noise", 3), expected)


def test_stream_is_the_same_on_every_machine_and_for_good():
    """Saved runs are continued with these numbers: they must never change."""
    assert stream(0, "noise", 3).integers(0, 2**32, 4).tolist() == [
        428451004,
        3372661267,
        342684569,
        3408765412,
    ]


@pytest.mark.parametrize(
    "other",
    [(1, "noise", 3), (0, "posterior", 3), (0, "noise", 4), (0, "noise"), (0, "noise", 3, 1)],
)
def test_streams_of_other_arguments_are_uncorrelated(other):
    assert abs(np.corrcoef(draws(0, "noise", 3), draws(*other))[0, 1]) < 0.15


def test_seed_and_name_do_not_run_together():
    assert not np.array_equal(draws(1, "1/a"), draws(11, "/a"))


def test_streams_of_neighbouring_indices_do_not_overlap():
    one, other = (set(stream(0, "noise", i).integers(0, 2**63, 10_000).tolist()) for i in (0, 1))
    assert not one & other


def test_index_is_at_most_two_numbers():
    with pytest.raises(ValueError, match="at most two indices, not 3"):
        stream(0, "noise", 1, 2, 3)


def test_rows_of_noise_are_the_same_whoever_draws_them():
    """And those of a small batch are one stream."""
    expected = normal_rows(0, "noise", 3, range(100), (2, 3))
    for rows in (range(1), range(31, 33), range(50, 100), range(BLOCK, 2 * BLOCK), range(99, 100)):
        drawn = normal_rows(0, "noise", 3, rows, (2, 3))
        assert np.array_equal(drawn, expected[rows.start : rows.stop])
    one_stream = stream(0, "noise", 3).standard_normal((BLOCK, 2, 3), np.float32)
    assert np.array_equal(expected[:BLOCK], one_stream)
    assert len(np.unique(expected)) == expected.size
