"""Gaussian diffusion as its repositories keep it: coefficients in NumPy, copied at each use."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainDiffusion:
    """The chain over the timesteps `kept` of `num_timesteps` with linear betas, learned variance.

    Every method takes steps k (B,) into `kept` and states (B, C, H, W).
    """

    def __init__(self, num_timesteps: int, kept: np.ndarray):
        self.kept = kept
        betas = np.linspace(0.1 / num_timesteps, 20 / num_timesteps, num_timesteps)
        self.alpha_bar = np.cumprod(1 - betas)[kept]
        self.previous = np.append(1.0, self.alpha_bar[:-1])
        self.beta = 1 - self.alpha_bar / self.previous
        self.variance = self.beta * (1 - self.previous) / (1 - self.alpha_bar)
        self.log_variance = np.log(np.append(self.variance[1], self.variance[1:]))
        self.log_beta = np.log(self.beta)
        self.of_x0 = self.beta * np.sqrt(self.previous) / (1 - self.alpha_bar)
        self.of_xt = (1 - self.previous) * np.sqrt(1 - self.beta) / (1 - self.alpha_bar)
        self.recip = np.sqrt(1 / self.alpha_bar)
        self.recip_minus_one = np.sqrt(1 / self.alpha_bar - 1)
        self.root, self.noise_root = np.sqrt(self.alpha_bar), np.sqrt(1 - self.alpha_bar)

    def timesteps(self, k: Tensor) -> Tensor:
        return torch.tensor(self.kept, device=k.device)[k]

    def prior(self, model: nn.Module, x: Tensor, k: Tensor, y: Tensor, scale: float):
        """Guided noise and variance of (2B) rows, the second half of which are of null classes."""
        half = x[: len(x) // 2]
        output = model(torch.cat([half, half]), self.timesteps(k), y)
        eps, v = output.chunk(2, dim=1)
        conditional, unconditional = eps.chunk(2)
        guided = unconditional + scale * (conditional - unconditional)
        return torch.cat([guided, guided]), v

    @torch.inference_mode()
    def ddim(self, model: nn.Module, start: Tensor, labels: Tensor, scale: float) -> Tensor:
        """Latents (B, C, H, W) from `start` with guidance, without noise in the steps."""
        x = torch.cat([start, start])
        y = torch.cat([labels, torch.full_like(labels, model.num_classes)])
        for step in reversed(range(len(self.kept))):
            k = torch.tensor([step] * len(x), device=x.device)
            eps, v = self.prior(model, x, k, y, scale)
            x0, _, _ = self.posterior(x, k, eps, v)
            eps = (at(self.recip, k) * x - x0) / at(self.recip_minus_one, k)
            previous = at(self.previous, k)
            x = x0 * previous.sqrt() + (1 - previous).sqrt() * eps
        return x.chunk(2)[0]

    def posterior(self, x: Tensor, k: Tensor, eps: Tensor, v: Tensor):
        """The predicted x0, and mean and log variance of the step: all of it in each sampler."""
        x0 = at(self.recip, k) * x - at(self.recip_minus_one, k) * eps
        mean = at(self.of_x0, k) * x0 + at(self.of_xt, k) * x
        fraction = (v + 1) / 2
        log_variance = fraction * at(self.log_beta, k)
        return x0, mean, log_variance + (1 - fraction) * at(self.log_variance, k)

    def add_noise(self, x0: Tensor, k: Tensor, eps: Tensor) -> Tensor:
        return at(self.root, k) * x0 + at(self.noise_root, k) * eps

    def loss(self, output: Tensor, x0: Tensor, xt: Tensor, k: Tensor, eps: Tensor) -> Tensor:
        """Mean of squared error and variational bound in bits, the mean detached in the bound."""
        predicted, v = output.chunk(2, dim=1)
        true_mean = at(self.of_x0, k) * x0 + at(self.of_xt, k) * xt
        true_log_variance = at(self.log_variance, k)
        _, mean, log_variance = self.posterior(xt, k, predicted.detach(), v)
        divergence = 0.5 * (
            log_variance
            - true_log_variance
            - 1
            + torch.exp(true_log_variance - log_variance)
            + (true_mean - mean) ** 2 * torch.exp(-log_variance)
        )
        likelihood = log_likelihood(x0, mean, 0.5 * log_variance)
        first = (k == 0).view(-1, 1, 1, 1)
        bound = torch.where(first, -likelihood, divergence).mean(dim=(1, 2, 3)) / math.log(2)
        return (F.mse_loss(predicted, eps, reduction="none").mean(dim=(1, 2, 3)) + bound).mean()


def at(values: np.ndarray, k: Tensor) -> Tensor:
    return torch.from_numpy(values).to(k.device)[k].float().view(-1, 1, 1, 1)


def log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Of the bin of width 2/255 around x, the end bins open; in nats."""
    normal = torch.distributions.Normal(0.0, 1.0, validate_args=False)
    scale = torch.exp(-log_std)
    above = normal.cdf(scale * (x - mean + 1 / 255))
    below = normal.cdf(scale * (x - mean - 1 / 255))
    mass = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return mass.clamp(min=1e-12).log()
