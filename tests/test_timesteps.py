"""The timesteps that a sampler visits."""

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize
from subjects import ROOT

from slimdit.diffusion.timesteps import (
    MOST_OPTIMISED,
    SPACINGS,
    chosen_timesteps,
    error_bound,
    lambdas_of,
    lengths_of,
    linspace,
    nearest,
)

T = 1000
SCHEMA = ROOT / "workflow/scripts/slimdit/study/config.schema.yaml"


def test_the_config_knows_every_spacing():
    sampling = yaml.safe_load(SCHEMA.read_text())["properties"]["sampling"]
    assert sampling["properties"]["timesteps"]["enum"] == list(SPACINGS)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_timesteps", [1, 21, T, 2000])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 10, 20, 21, 50, 250, T])
def test_they_are_different_and_rise_to_the_last(spacing, num_timesteps, num_steps):
    num_steps = min(num_steps, num_timesteps)
    kept = chosen_timesteps(spacing, num_timesteps, num_steps)
    assert kept.dtype == np.int64 and len(kept) == num_steps
    assert kept[0] >= 0 and kept[-1] == num_timesteps - 1
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_of_them_are_all_of_them(spacing):
    assert chosen_timesteps(spacing, 30, 30).tolist() == list(range(30))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [0, T + 1])
def test_impossible_numbers_of_steps_are_refused(spacing, num_steps):
    with pytest.raises(ValueError, match=f"{num_steps} steps"):
        chosen_timesteps(spacing, T, num_steps)


def test_linspace_has_the_published_ones():
    assert linspace(T, 250)[:4].tolist() == [0, 4, 8, 12]
    assert linspace(T, 50)[-2:].tolist() == [979, 999]


@pytest.mark.parametrize("num_steps", [2, 3, 20, 50, 250, 999, 1000])
def test_linspace_begins_at_zero(num_steps):
    assert linspace(T, num_steps)[0] == 0


def test_trailing_has_the_published_ones():
    assert chosen_timesteps("trailing", T, 10).tolist() == list(range(99, 1000, 100))


def test_uniform_lambda_has_steps_of_one_length():
    lambdas = lambdas_of(T)
    kept = chosen_timesteps("uniform_lambda", T, 8)
    lengths = -np.diff(lambdas[kept])
    np.testing.assert_allclose(lengths, (lambdas[0] - lambdas[-1]) / 8, rtol=0.02)


def test_lambdas_between_two_timesteps_become_different_ones():
    known = lambdas_of(30)
    assert nearest(np.full(3, known[4]), known).tolist() == [4, 5, 6]
    assert nearest(np.full(3, known[29]), known).tolist() == [27, 28, 29]
    assert nearest(np.full(3, known[0]), known).tolist() == [0, 1, 2]


def test_the_bound_is_that_of_the_solvers_steps():
    """By the weights of each x0 in x / sigma, step by step."""
    begin, lengths = -4.0, np.array([1.5, 0.7, 1.1, 2.0])
    lambdas = begin + np.append(0.0, np.cumsum(lengths))
    error = 1 / (np.exp(lambdas) * np.sqrt(1 + np.exp(2 * lambdas)))  # sigma^2 / alpha
    expected = 0.0
    for k, h in enumerate(lengths):
        growth = np.exp(lambdas[k + 1]) - np.exp(lambdas[k])
        ratio = h / (2 * lengths[k - 1]) if k in (1, 2) else 0.0
        weights = growth * np.array([1 + ratio, ratio])
        expected += np.linalg.norm(weights * [error[k], error[k - 1]])
    assert error_bound(begin, lengths) == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [2, 5, 10, 20])
def test_optimised_timesteps_have_the_least_bound(num_steps):
    """As another optimizer finds it, from steps of one length; and no other spacing has less."""
    lambdas = lambdas_of(T)
    begin, total = lambdas[-1], lambdas[0] - lambdas[-1]

    def bound_of(kept):
        nodes = np.append(lambdas[kept[::-1]], lambdas[0])
        return error_bound(begin, np.diff(nodes))

    found = minimize(
        lambda logits: error_bound(begin, lengths_of(logits, total)),
        np.zeros(num_steps - 1),
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    kept = chosen_timesteps("optimised", T, num_steps)
    assert bound_of(kept) == pytest.approx(found.fun, rel=1e-3)
    others = (chosen_timesteps(name, T, num_steps) for name in ("trailing", "uniform_lambda"))
    assert all(bound_of(kept) < bound_of(each) for each in others)


def test_optimised_timesteps_are_the_same_every_time():
    expected = [29, 71, 142, 250, 386, 522, 641, 746, 842, 999]
    for _ in range(2):
        assert chosen_timesteps("optimised", T, 10).tolist() == expected


def test_many_optimised_timesteps_are_spread_as_few_are():
    few, many = (chosen_timesteps("optimised", T, n * MOST_OPTIMISED) for n in (1, 2))
    assert np.abs(few - many[1::2]).max() <= 1
