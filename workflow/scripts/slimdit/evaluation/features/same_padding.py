"""The padding that TensorFlow calls SAME."""

from torch import Tensor
from torch.nn import functional as F


def pad_same(
    x: Tensor, kernel_size: tuple[int, int], strides: tuple[int, int], value: float = 0.0
) -> Tensor:
    """x (B, C, H, W) padded so that a convolution gives ceil(H / stride) and ceil(W / stride)
    values; where that takes an odd number of them, the last row or column is the extra one."""
    padding = []
    for size, kernel, stride in zip(x.shape[2:], kernel_size, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        padding = [total // 2, total - total // 2, *padding]  # of the last axis first
    return F.pad(x, padding, value=value) if any(padding) else x
