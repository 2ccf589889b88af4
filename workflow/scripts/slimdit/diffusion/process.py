"""Gaussian diffusion with learned variance (Ho et al. 2020; Nichol & Dhariwal 2021).

Letters: T timesteps of training, x0 data, xt noised data, eps noise; all of shape (B, C, H, W).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

BITS = math.log(2.0)


def linear_betas(num_timesteps: int) -> np.ndarray:
    """1e-4 to 2e-2 in a line for T = 1000, scaled to the same noise for another T; float64."""
    scale = 1000 / num_timesteps
    return np.linspace(scale * 1e-4, scale * 2e-2, num_timesteps)


def alpha_bars(num_timesteps: int) -> np.ndarray:
    """Of each timestep, the product of 1 - beta up to it: (T,) float64."""
    return np.cumprod(1.0 - linear_betas(num_timesteps))


class Diffusion(nn.Module):
    """The forward process over all T timesteps, or over a chosen few of them for sampling.

    Coefficients are buffers, indexed by step k = 0 .. K-1; `timesteps[k]` is what the model sees.
    With alpha_bar the products over the kept timesteps, beta_k = 1 - alpha_bar_k / alpha_bar_{k-1}.

    Args:
        kept: the chosen timesteps, int64 (K,), rising; None for all.

    Attributes: exact_alpha_bar, as the buffer alpha_bar but in NumPy's float64.
    """

    def __init__(self, num_timesteps: int, kept: np.ndarray | None = None):
        super().__init__()
        kept = np.arange(num_timesteps) if kept is None else kept
        alpha_bar = alpha_bars(num_timesteps)[kept]
        previous = np.append(1.0, alpha_bar[:-1])
        beta = 1.0 - alpha_bar / previous
        posterior_variance = beta * (1.0 - previous) / (1.0 - alpha_bar)
        # The posterior variance at k = 0 is 0; the next one takes its place, or beta if alone.
        next_variance = posterior_variance[1] if len(kept) > 1 else beta[0]
        clipped = np.append(next_variance, posterior_variance[1:])
        coefficients = {
            "alpha_bar": alpha_bar,
            "alpha_bar_previous": previous,
            "sqrt_alpha_bar": np.sqrt(alpha_bar),
            "sqrt_one_minus_alpha_bar": np.sqrt(1.0 - alpha_bar),
            "sqrt_recip_alpha_bar": np.sqrt(1.0 / alpha_bar),
            "sqrt_recip_alpha_bar_minus_one": np.sqrt(1.0 / alpha_bar - 1.0),
            "posterior_mean_x0": beta * np.sqrt(previous) / (1.0 - alpha_bar),
            "posterior_mean_xt": (1.0 - previous) * np.sqrt(1.0 - beta) / (1.0 - alpha_bar),
            "posterior_log_variance": np.log(clipped),
            "log_beta": np.log(beta),
        }
        for name, values in coefficients.items():
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
        self.register_buffer("timesteps", torch.from_numpy(kept), persistent=False)
        self.exact_alpha_bar = alpha_bar

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def at(self, name: str, k: Tensor) -> Tensor:
        """The named coefficient at steps k (B,), shaped (B, 1, 1, 1)."""
        return getattr(self, name)[k].view(-1, 1, 1, 1)

    def add_noise(self, x0: Tensor, k: Tensor, eps: Tensor) -> Tensor:
        """sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps."""
        return self.at("sqrt_alpha_bar", k) * x0 + self.at("sqrt_one_minus_alpha_bar", k) * eps

    def predicted_x0(self, xt: Tensor, k: Tensor, eps: Tensor) -> Tensor:
        scale, shift = "sqrt_recip_alpha_bar", "sqrt_recip_alpha_bar_minus_one"
        return self.at(scale, k) * xt - self.at(shift, k) * eps

    def posterior_mean(self, x0: Tensor, xt: Tensor, k: Tensor) -> Tensor:
        """Mean of q(x_{k-1} | x_k, x0)."""
        return self.at("posterior_mean_x0", k) * x0 + self.at("posterior_mean_xt", k) * xt

    def log_variance(self, v: Tensor, k: Tensor) -> Tensor:
        """f log beta + (1 - f) log posterior variance, f = (v + 1) / 2 (learned range)."""
        fraction = (v + 1) / 2
        return fraction * self.at("log_beta", k) + (1 - fraction) * self.at(
            "posterior_log_variance", k
        )

    def losses(self, output: Tensor, x0: Tensor, xt: Tensor, k: Tensor, eps: Tensor):
        """Per-sample (mse, vb), each (B,), of a prediction `output` (B, 2C, H, W).

        mse: mean of (eps - eps_hat)^2. vb: the variational bound's term at k in bits per
        dimension, which teaches the variance alone (the mean is detached).
        """
        mse = (eps - output.chunk(2, dim=1)[0]).square().mean(dim=(1, 2, 3))
        return mse, self._bound(output, x0, xt, k)

    def divergence(self, output: Tensor, other: Tensor, xt: Tensor, k: Tensor) -> Tensor:
        """KL(of the step back that `other` predicts || of that of `output`), both (B, 2C, H, W), in
        bits per dimension, (B,); like vb, it teaches the variance alone."""
        kl = gaussian_kl(*self._step_back(other, xt, k), *self._step_back(output, xt, k))
        return kl.mean(dim=(1, 2, 3)) / BITS

    def _step_back(self, output: Tensor, xt: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, detached, and log variance of a prediction's step to k - 1."""
        eps_hat, v = output.chunk(2, dim=1)
        mean = self.posterior_mean(self.predicted_x0(xt, k, eps_hat.detach()), xt, k)
        return mean, self.log_variance(v, k)

    def _bound(self, output: Tensor, x0: Tensor, xt: Tensor, k: Tensor) -> Tensor:
        mean, log_variance = self._step_back(output, xt, k)
        true_mean = self.posterior_mean(x0, xt, k)
        true_log_variance = self.at("posterior_log_variance", k)
        divergence = gaussian_kl(true_mean, true_log_variance, mean, log_variance)
        likelihood = discretized_log_likelihood(x0, mean, 0.5 * log_variance)
        bound = torch.where(k.view(-1, 1, 1, 1) == 0, -likelihood, divergence)
        return bound.mean(dim=(1, 2, 3)) / BITS


def gaussian_kl(mean1: Tensor, log_var1: Tensor, mean2: Tensor, log_var2: Tensor) -> Tensor:
    """KL(N(mean1, var1) || N(mean2, var2)) of each element, in nats."""
    ratio = (log_var1 - log_var2).exp() + (mean1 - mean2).square() * (-log_var2).exp()
    return 0.5 * (log_var2 - log_var1 + ratio - 1.0)


def discretized_log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log of the Gaussian mass in x's bin of width 2/255, the end bins open; in nats."""
    centred, inverse_std = x - mean, (-log_std).exp()
    upper = _normal_cdf(inverse_std * (centred + 1.0 / 255.0))
    lower = _normal_cdf(inverse_std * (centred - 1.0 / 255.0))
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1.0 - lower, upper - lower))
    return mass.clamp(min=1e-12).log()


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))
