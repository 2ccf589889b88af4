"""Initial weights: each parameter drawn from a stream of its own.

Two variants start from the same values wherever they have the same parameter, and a component that
exists in one of them alone shifts nothing in the other.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from slimdit.core.randomness import stream

Fill = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def zeros(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


def normal(std: float) -> Fill:
    return lambda generator, shape: std * generator.standard_normal(shape)


def uniform(bound: float) -> Fill:
    return lambda generator, shape: generator.uniform(-bound, bound, shape)


def xavier(fan_in: int, fan_out: int) -> Fill:
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot & Bengio, "Understanding the difficulty
    of training deep feedforward neural networks", AISTATS 2010, Eq. 16."""
    return uniform(math.sqrt(6.0 / (fan_in + fan_out)))


def packed_projection(hidden_size: int) -> Fill:
    """Xavier's bound of DiT's packed (3C, C) query-key-value matrix, whatever slice is filled.

    Xavier's bound depends on the shape: narrower projections would otherwise start with larger
    queries and keys than the base's, and variants would differ in more than their structure.
    """
    return xavier(hidden_size, 3 * hidden_size)


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Fill every trainable parameter of `model`.

    A module's `initial` (parameter name -> Fill) decides; without one, linear weights are
    Xavier-uniform and biases zero. Raises TypeError for a parameter that nothing covers.
    """
    for module_name, module in model.named_modules():
        own = getattr(module, "initial", {})
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            fill = own.get(name) or _default(module, name)
            generator = stream(seed, f"weights/{module_name}.{name}")
            parameter.copy_(torch.from_numpy(fill(generator, tuple(parameter.shape))))


def _default(module: nn.Module, name: str) -> Fill:
    if name == "bias":
        return zeros
    if isinstance(module, nn.Linear) and name == "weight":
        return xavier(module.in_features, module.out_features)
    raise TypeError(f"{type(module).__name__}.{name} has no entry in its module's `initial`")
