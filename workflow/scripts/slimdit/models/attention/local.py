"""Depthwise convolution of the values, which gives each token its neighbourhood beside attention.

Letters in shapes: B images or heads, N tokens of a square grid, C channels.
"""

import math

from torch import Tensor, nn

from slimdit.models.initialization import uniform


def image(tokens: Tensor) -> Tensor:
    """(B, N, C) -> (B, C, sqrt(N), sqrt(N)), row by row; raises RuntimeError for another grid."""
    batch, count, channels = tokens.shape
    side = math.isqrt(count)
    return tokens.transpose(1, 2).reshape(batch, channels, side, side)


def local_convolution(channels: int, kernel_size: int) -> nn.Conv2d:
    """One kernel a channel, of the initial range that PyTorch gives it: 1 / sqrt(fan_in)."""
    layer = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
    bound = 1.0 / kernel_size
    layer.initial = {"weight": uniform(bound), "bias": uniform(bound)}
    return layer


def convolved(layer: nn.Conv2d, values: Tensor) -> Tensor:
    """(B, N, C) -> (B, N, C)."""
    return layer(image(values)).flatten(2).transpose(1, 2)
