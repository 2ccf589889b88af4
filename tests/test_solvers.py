"""Samplers as solvers of the diffusion's ODE: against diffusers, and on a known density."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from scipy.integrate import solve_ivp
from subjects import random_tensor

from slimdit.diffusion.process import Diffusion, alpha_bars
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.diffusion.timesteps import chosen_timesteps, lambdas_of, nearest

T = 1000
MULTISTEP = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {"solver_type": "bh2"}),
}
# A mixture of three normal distributions, of each element.
MEANS, STDS, PARTS = torch.tensor([[-1.5, -0.2, 1.0], [0.2, 0.4, 0.3], [0.3, 0.5, 0.2]]).double()


def true_noise(x, alpha_bar):
    """The best prediction of the noise in x: -sigma times the score of the noised mixture."""
    alpha_bar = torch.as_tensor(alpha_bar, dtype=torch.float64)
    variance = alpha_bar * STDS**2 + 1 - alpha_bar
    distance = x.double()[..., None] - alpha_bar.sqrt() * MEANS
    logits = PARTS.log() - 0.5 * variance.log() - 0.5 * distance**2 / variance
    score = -(logits.softmax(-1) * distance / variance).sum(-1)
    return (-(1 - alpha_bar).sqrt() * score).to(x)


def sampled(name, num_timesteps, kept, x, last=0):
    """x after the steps down to `last`, in the type of x."""
    alpha_bar = alpha_bars(num_timesteps)[kept]
    sampler = SAMPLERS[name](Diffusion(num_timesteps, kept).to(x.dtype))
    carried = [torch.zeros_like(x)] * sampler.num_carried
    for k in reversed(range(last, len(kept))):
        eps = true_noise(x, alpha_bar[k])
        x, *carried = sampler.step(x, torch.tensor([k]), eps, None, None, *carried)
    return x


@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 10, 14, 15, 20, 50])
def test_images_are_those_of_diffusers(name, dtype, num_steps):
    scheduler_type, options = MULTISTEP[name]
    scheduler = scheduler_type(
        num_train_timesteps=T,
        beta_start=1e-4,
        beta_end=2e-2,
        beta_schedule="linear",
        solver_order=2,
        timestep_spacing="trailing",
        final_sigmas_type="zero",
        **options,
    )
    scheduler.set_timesteps(num_steps)
    kept = chosen_timesteps("trailing", T, num_steps)
    assert scheduler.timesteps.tolist() == kept[::-1].tolist()

    start = expected = random_tensor("x", 4, 2, 3, 3).to(dtype)
    for t in scheduler.timesteps:
        eps = true_noise(expected, alpha_bars(T)[t])
        expected = scheduler.step(eps, t, expected).prev_sample
    # One step from the last timestep multiplies what was rounded by 1 / alpha = 157.
    tolerance = 1e-4 if num_steps == 1 else 1e-5
    actual = sampled(name, T, kept, start)
    torch.testing.assert_close(actual, expected.to(dtype), rtol=0, atol=tolerance)


class Problem(NamedTuple):
    """x at the noise level of timestep `last`, from `start` at that of `first`."""

    num_timesteps: int
    first: int
    last: int
    start: torch.Tensor
    exact: np.ndarray


@pytest.fixture(scope="module")
def problem():
    """Between lambda = -4 and 2, by a solver of order 8 in d(x / sigma) = e^lambda x0 d lambda."""
    num_timesteps = 200_000  # so that steps of one length are nearly that
    lambdas, alpha_bar = lambdas_of(num_timesteps), alpha_bars(num_timesteps)
    last, first = nearest(np.array([-4.0, 2.0]), lambdas)
    start = random_tensor("x", 64, 1, 1, 1)

    def slope(of_lambda, ratio):
        alpha_bar = 1 / (1 + np.exp(-2 * of_lambda))
        x = torch.from_numpy(ratio) * (1 - alpha_bar) ** 0.5
        x0 = (x - (1 - alpha_bar) ** 0.5 * true_noise(x, alpha_bar)) / alpha_bar**0.5
        return np.exp(of_lambda) * x0.numpy()

    sigmas = np.sqrt(1 - alpha_bar)
    span, ratio = lambdas[[first, last]], start.flatten().numpy() / sigmas[first]
    found = solve_ivp(slope, span, ratio, method="DOP853", rtol=1e-11, atol=1e-11)
    return Problem(num_timesteps, first, last, start, found.y[:, -1] * sigmas[last])


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("unipc", 3)])
def test_errors_fall_by_the_order_of_the_solver(problem, name, order):
    """A corrector raises the order of its predictor by one (Zhao et al., Theorem 3.1)."""
    lambdas, errors = lambdas_of(problem.num_timesteps), []
    for num_steps in (40, 80, 160):
        between = np.linspace(lambdas[problem.first], lambdas[problem.last], num_steps + 1)
        kept = nearest(between, lambdas)
        x = sampled(name, problem.num_timesteps, kept, problem.start, last=1)
        errors.append(np.sqrt(np.mean((x.flatten().numpy() - problem.exact) ** 2)))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, order, atol=0.12)


@pytest.fixture
def inputs():
    """x and eps of four images, and what is carried."""
    return [random_tensor(what, 4, 2, 3, 3).float() for what in ("x", "eps", "a", "b", "c")]


@pytest.mark.parametrize("name", MULTISTEP)
@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_the_first_step_is_ddims_whatever_is_carried(name, num_steps, inputs):
    x, eps, *carried = inputs
    diffusion = Diffusion(T, chosen_timesteps("trailing", T, num_steps))
    sampler, k = SAMPLERS[name](diffusion), torch.tensor([num_steps - 1])
    actual, *_ = sampler.step(x, k, eps, None, None, *carried[: sampler.num_carried])
    (expected,) = SAMPLERS["ddim"](diffusion).step(x, k, eps, None, None)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_ends_at_the_x0_that_is_predicted(name, inputs):
    x, eps, *carried = inputs
    diffusion = Diffusion(T, chosen_timesteps("trailing", T, 6))
    sampler, k = SAMPLERS[name](diffusion), torch.tensor([0])
    v, noise = torch.zeros_like(x), torch.zeros_like(x)
    actual, *_ = sampler.step(x, k, eps, v, noise, *carried[: sampler.num_carried])
    torch.testing.assert_close(actual, diffusion.predicted_x0(x, k, eps))


@pytest.mark.parametrize("name", MULTISTEP)
def test_each_image_may_be_at_a_step_of_its_own(name, inputs):
    x, eps, *carried = inputs
    sampler = SAMPLERS[name](Diffusion(T, chosen_timesteps("optimised", T, 6)))
    carried = carried[: sampler.num_carried]
    k = torch.tensor([5, 4, 2, 0])
    together = sampler.step(x, k, eps, None, None, *carried)
    for i in range(4):
        x_i, k_i, eps_i, *carried_i = (each[i : i + 1] for each in (x, k, eps, *carried))
        alone = sampler.step(x_i, k_i, eps_i, None, None, *carried_i)
        for whole, one in zip(together, alone, strict=True):
            assert torch.equal(whole[i : i + 1], one)
