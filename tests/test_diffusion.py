"""The forward process and its losses against formulas in float64 numpy."""

import math

import numpy as np
import pytest
import torch
from subjects import random_tensor

from slimdit.diffusion.process import Diffusion, discretized_log_likelihood, linear_betas
from slimdit.diffusion.timesteps import linspace

T = 1000
SHAPE = (3, 4, 4)  # of one latent
BETA = np.linspace(1e-4, 2e-2, T)
ALPHA_BAR = np.cumprod(1 - BETA)
PREVIOUS = np.append(1.0, ALPHA_BAR[:-1])
VARIANCE = BETA * (1 - PREVIOUS) / (1 - ALPHA_BAR)
LOG_VARIANCE = np.log(np.append(VARIANCE[1], VARIANCE[1:]))


def close(actual, expected, rtol=2e-5):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=rtol)


@pytest.fixture
def diffusion():
    return Diffusion(T)


@pytest.fixture
def batch():
    """x0, noise, and steps that include the first and the last."""
    k = torch.tensor([0, 1, 400, T - 1])
    return random_tensor("x0", 4, *SHAPE).float(), k, random_tensor("eps", 4, *SHAPE).float()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpha_bar", ALPHA_BAR),
        ("sqrt_alpha_bar", np.sqrt(ALPHA_BAR)),
        ("sqrt_one_minus_alpha_bar", np.sqrt(1 - ALPHA_BAR)),
        ("sqrt_recip_alpha_bar", 1 / np.sqrt(ALPHA_BAR)),
        ("posterior_mean_x0", BETA * np.sqrt(PREVIOUS) / (1 - ALPHA_BAR)),
        ("posterior_mean_xt", (1 - PREVIOUS) * np.sqrt(1 - BETA) / (1 - ALPHA_BAR)),
        ("posterior_log_variance", LOG_VARIANCE),
        ("log_beta", np.log(BETA)),
    ],
)
def test_coefficients_equal_their_closed_forms(diffusion, name, expected):
    close(getattr(diffusion, name), expected)


def test_betas_are_scaled_to_the_number_of_timesteps():
    np.testing.assert_allclose(linear_betas(T)[[0, -1]], [1e-4, 2e-2])
    np.testing.assert_allclose(linear_betas(500)[[0, -1]], [2e-4, 4e-2])


def test_noised_latents_keep_unit_variance(diffusion, batch):
    x0, k, eps = batch
    torch.testing.assert_close(
        diffusion.at("sqrt_alpha_bar", k) ** 2 + diffusion.at("sqrt_one_minus_alpha_bar", k) ** 2,
        torch.ones(4, 1, 1, 1),
    )
    scale = torch.tensor(np.sqrt(ALPHA_BAR[k]), dtype=torch.float32).view(-1, 1, 1, 1)
    expected = scale * x0 + (1 - scale.double() ** 2).sqrt().float() * eps
    torch.testing.assert_close(diffusion.add_noise(x0, k, eps), expected, rtol=1e-4, atol=1e-5)


def test_true_noise_gives_back_x0(diffusion, batch):
    x0, k, eps = batch
    restored = diffusion.predicted_x0(diffusion.add_noise(x0, k, eps), k, eps)
    torch.testing.assert_close(restored, x0, rtol=0, atol=2e-4)


def test_log_variance_runs_from_the_posterior_to_beta(diffusion):
    k, v = torch.tensor([0, 7, T - 1]), torch.ones(3, 1, 1, 1)
    close(diffusion.log_variance(-v, k).flatten(), LOG_VARIANCE[k])
    close(diffusion.log_variance(v, k).flatten(), np.log(BETA)[k])


def test_bins_of_the_likelihood_share_the_whole_mass():
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, std in ((0.1, 0.3), (-0.9, 0.05), (2.0, 0.5)):
        log_std = torch.full_like(x, math.log(std))
        masses = discretized_log_likelihood(x, torch.full_like(x, mean), log_std).exp()
        assert masses.sum().item() == pytest.approx(1.0, abs=1e-9)


def test_perfect_prediction_has_no_loss_but_the_likelihood(diffusion, batch):
    """The posterior's own variance (v = -1) makes the divergence zero at k > 0."""
    x0, k, eps = batch
    output = torch.cat([eps, -torch.ones_like(eps)], dim=1)
    mse, vb = diffusion.losses(output, x0, diffusion.add_noise(x0, k, eps), k, eps)
    assert mse.tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(vb[1:], torch.zeros(3), rtol=0, atol=1e-5)


def numpy_bound(output, x0, xt, k):
    """KL in bits a dimension of one sample at k > 0; discretised likelihood at k = 0; float64."""
    eps_hat, v = np.split(output, 2)
    x0_hat = xt / np.sqrt(ALPHA_BAR[k]) - np.sqrt(1 / ALPHA_BAR[k] - 1) * eps_hat

    def mean(x):
        from_x0 = BETA[k] * np.sqrt(PREVIOUS[k]) / (1 - ALPHA_BAR[k]) * x
        return from_x0 + (1 - PREVIOUS[k]) * np.sqrt(1 - BETA[k]) / (1 - ALPHA_BAR[k]) * xt

    fraction = (v + 1) / 2
    log_variance = fraction * np.log(BETA[k]) + (1 - fraction) * LOG_VARIANCE[k]
    if k == 0:
        std = np.exp(log_variance / 2)
        cdf = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))))
        upper = cdf((x0 - mean(x0_hat) + 1 / 255) / std)
        lower = cdf((x0 - mean(x0_hat) - 1 / 255) / std)
        mass = np.where(x0 < -0.999, upper, np.where(x0 > 0.999, 1 - lower, upper - lower))
        return -np.log(np.maximum(mass, 1e-12)).mean() / math.log(2)
    var, true_var = np.exp(log_variance), np.exp(LOG_VARIANCE[k])
    distance = (mean(x0) - mean(x0_hat)) ** 2
    divergence = np.log(np.sqrt(var / true_var)) + (true_var + distance) / (2 * var) - 0.5
    return divergence.mean() / math.log(2)


def test_losses_equal_an_independent_derivation(diffusion, batch):
    x0, k, eps = batch
    xt = diffusion.add_noise(x0, k, eps)
    output = torch.cat([eps, torch.zeros_like(eps)], 1) + 0.1 * random_tensor(
        "output", 4, 6, *SHAPE[1:]
    )
    mse, vb = diffusion.losses(output.float(), x0, xt, k, eps)
    arrays = [a.double().numpy() for a in (output.float(), x0, xt)]
    expected = [numpy_bound(*(a[i] for a in arrays), int(k[i])) for i in range(4)]
    close(vb, expected, rtol=2e-3)
    close(mse, ((arrays[0][:, :3] - eps.double().numpy()) ** 2).mean((1, 2, 3)))


def test_bound_teaches_the_variance_alone(diffusion, batch):
    x0, k, eps = batch
    output = random_tensor("output", 4, 6, *SHAPE[1:]).float().requires_grad_()
    _, vb = diffusion.losses(output, x0, diffusion.add_noise(x0, k, eps), k, eps)
    (gradient,) = torch.autograd.grad(vb.sum(), output)
    assert gradient[:, :3].abs().sum() == 0
    assert gradient[:, 3:].flatten(1).abs().sum(1).gt(0).all()


def test_respaced_process_keeps_the_noise_levels_of_its_timesteps():
    short = Diffusion(T, linspace(T, 20))
    close(short.alpha_bar, ALPHA_BAR[short.timesteps])
    assert short.num_steps == 20


def test_no_coefficient_is_part_of_a_checkpoint(diffusion):
    assert not diffusion.state_dict()


def test_respaced_betas_multiply_to_the_kept_alpha_bar():
    short = Diffusion(T, linspace(T, 20))
    close(torch.cumprod(1 - short.log_beta.double().exp(), 0), ALPHA_BAR[short.timesteps], 1e-4)
