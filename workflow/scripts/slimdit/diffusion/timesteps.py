"""Which K of the T timesteps a sampler visits; lambda is log(alpha / sigma) in what follows."""

import functools

import numpy as np
from scipy.optimize import minimize

from slimdit.diffusion.process import alpha_bars

MOST_OPTIMISED = 50  # steps; more of them are spread as these are


def chosen_timesteps(spacing: str, num_timesteps: int, num_steps: int) -> np.ndarray:
    """num_steps of the T timesteps, as the named spacing has them: int64 (K,), rising, all
    different, the last one T - 1, where sampling begins."""
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(f"{num_steps} steps cannot be taken from {num_timesteps} timesteps")
    return SPACINGS[spacing](num_timesteps, num_steps)


def linspace(num_timesteps: int, num_steps: int) -> np.ndarray:
    """Even from T - 1 to 0, both included; at 0 there is hardly any noise left to remove."""
    if num_steps == 1:
        return np.array([num_timesteps - 1])
    return np.round(np.arange(num_steps) * (num_timesteps - 1) / (num_steps - 1)).astype(np.int64)


def trailing(num_timesteps: int, num_steps: int) -> np.ndarray:
    """Every T / K from T - 1 down (Lin et al., "Common Diffusion Noise Schedules and Sample Steps
    are Flawed", arXiv:2305.08891, Table 2)."""
    return np.round(np.arange(1, num_steps + 1) * num_timesteps / num_steps).astype(np.int64) - 1


def uniform_lambda(num_timesteps: int, num_steps: int) -> np.ndarray:
    """K steps of one length in lambda from T - 1 to 0 (Lu et al., "DPM-Solver: A Fast ODE Solver
    for Diffusion Probabilistic Model Sampling in Around 10 Steps", arXiv:2206.00927, Sec. 3.4)."""
    known = lambdas_of(num_timesteps)
    return nearest(np.linspace(known[-1], known[0], num_steps + 1)[:-1], known)


@functools.cache  # several callers ask for those of one sampling
def optimised(num_timesteps: int, num_steps: int) -> np.ndarray:
    """K steps in lambda from T - 1 to 0 of the least bound on what errors of the model make of the
    image: the optimisation of Xue et al., "Accelerating Diffusion Sampling with Optimized Time
    Steps", arXiv:2402.17376, for DPM-Solver++(2M), with `error_bound` as its objective."""
    known = lambdas_of(num_timesteps)
    begin, end = known[-1], known[0]
    count = min(num_steps, MOST_OPTIMISED)
    even = np.interp(np.linspace(num_timesteps - 1, 0, count + 1), np.arange(num_timesteps), known)
    lengths = np.diff(even)

    def bound(logits: np.ndarray) -> np.ndarray:
        return error_bound(begin, lengths_of(logits, end - begin))

    def gradient(logits: np.ndarray) -> np.ndarray:  # by a complex step: exact
        tiny = 1e-30
        return bound(logits + 1j * tiny * np.eye(len(logits))).imag / tiny

    start = np.log(lengths[:-1] / lengths[-1])
    if count > 1:
        start = minimize(bound, start, jac=gradient, method="BFGS").x
    nodes = begin + np.append(0.0, np.cumsum(lengths_of(start, end - begin)))
    steps = np.arange(num_steps) * count / num_steps
    return nearest(np.interp(steps, np.arange(count + 1), nodes), known)


def lengths_of(logits: np.ndarray, total: float) -> np.ndarray:
    """Positive lengths (..., K) of this sum by free numbers (..., K - 1)."""
    weights = np.concatenate([np.exp(logits), np.ones((*logits.shape[:-1], 1))], axis=-1)
    return total * weights / weights.sum(axis=-1, keepdims=True)


def error_bound(begin: float, lengths: np.ndarray) -> np.ndarray:
    """Of the error of x / sigma at the end of DPM-Solver++(2M)'s steps of these lengths in lambda,
    (..., K) -> (...), if each predicted x0 is off by sigma^2 / alpha.

    A step adds e^lambda (e^h - 1) [(1 + r) x0 - r x0_before] with r = h / (2 h_before), 0 in the
    first and the last. The errors of the two x0 are added in quadrature and those of the steps by
    their size, as Xue et al. add the first steps, where signed sums over steps have minima in which
    steps of length 0 cancel each other.
    """
    lambdas = begin + np.cumsum(lengths, axis=-1) - lengths
    error = np.exp(-lambdas) / np.sqrt(1 + np.exp(2 * lambdas))
    before = np.roll(error, 1, axis=-1)
    ratio = np.zeros_like(lengths)
    ratio[..., 1:-1] = lengths[..., 1:-1] / (2 * lengths[..., :-2])
    of_step = np.sqrt(((1 + ratio) * error) ** 2 + (ratio * before) ** 2)
    return (np.exp(lambdas) * (np.exp(lengths) - 1) * of_step).sum(axis=-1)


def lambdas_of(num_timesteps: int) -> np.ndarray:
    """Of each timestep, float64 (T,), falling."""
    alpha_bar = alpha_bars(num_timesteps)
    return np.log(alpha_bar / (1 - alpha_bar)) / 2


def nearest(lambdas: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The timesteps closest to rising `lambdas` (K,), of those with `known` lambdas (T,): rising,
    and moved where two would be one."""
    position = np.interp(lambdas[::-1], known[::-1], np.arange(len(known))[::-1])
    order = np.arange(len(position))
    beyond = np.maximum.accumulate(np.round(position) - order)  # never falls: all are different
    return (np.clip(beyond, 0, len(known) - len(position)) + order).astype(np.int64)


SPACINGS = {
    "linspace": linspace,
    "trailing": trailing,
    "uniform_lambda": uniform_lambda,
    "optimised": optimised,
}
