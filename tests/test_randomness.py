"""Streams depend on their arguments alone."""

import numpy as np
import pytest

from slimdit.core.randomness import stream


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
