"""The frozen Inception graph run by PyTorch, operation by operation.

Tensors keep TensorFlow's order of axes, (N, H, W, C); a convolution sees them as channels-last
(N, C, H, W) without a copy. What each operation computes is what TensorFlow's documentation of
`tf.raw_ops` says.
"""

from collections import Counter
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.evaluation.features.frozen_graph import FrozenGraph, data_inputs
from slimdit.evaluation.features.same_padding import pad_same


class TorchGraph:
    """Images in at the tensor `feed`, one array out for each tensor of `fetches`.

    Raises InputError for a graph that needs an operation or an attribute that is not here.
    """

    def __init__(self, graph: FrozenGraph, feed: str, fetches: tuple[str, ...], device):
        self.options = {}
        self.device = device
        self.feed = graph.node(feed).name
        self.fetches = [graph.node(fetch).name for fetch in fetches]
        self.constants: dict[str, torch.Tensor] = {}
        self.steps = []  # name, operation, names of inputs
        for node in graph.order(feed, fetches):
            inputs = [graph.node(tensor).name for tensor in data_inputs(node)]
            if node.op == "Const":
                value = torch.from_numpy(np.array(graph.constant(node.name)))
                # Sizes and axes are read by this process.
                self.constants[node.name] = value.to(device) if value.is_floating_point() else value
            elif _is_supported(node):
                self.steps.append((node.name, partial(OPERATIONS[node.op], node), inputs))
            else:
                raise InputError(
                    f"{graph.path} needs the operation {node.op!r} in a form that backend torch "
                    f"lacks, at {node.name}; set backend to tensorflow."
                )
        self.num_uses = Counter(name for _, _, inputs in self.steps for name in inputs)
        self.num_uses.update(self.fetches)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """float32 images (B, H, W, 3) in 0..255 to the fetched arrays, all channels last."""
        values = {**self.constants, self.feed: torch.from_numpy(images).to(self.device)}
        num_uses = Counter(self.num_uses)
        for name, operation, inputs in self.steps:
            values[name] = operation(*(values[input_name] for input_name in inputs))
            num_uses.subtract(inputs)
            for input_name in inputs:
                if num_uses[input_name] == 0:
                    values.pop(input_name, None)
        return [values[name].cpu().numpy() for name in self.fetches]


def convolve(node, x, kernel):
    """x (N, H, W, C), kernel (height, width, C, D)."""
    strides = _in_height_and_width(node, "strides")
    x = _padded(node, x, kernel.shape[:2], strides)
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return _channels_last(F.conv2d(x, kernel, stride=strides))


def normalize(node, x, mean, variance, beta, gamma):
    scale = torch.rsqrt(variance + node.attr["variance_epsilon"].f)
    if node.attr["scale_after_normalization"].b:
        scale = scale * gamma
    return torch.addcmul(beta - mean * scale, x, scale)


def pool_maximum(node, x):
    kernel_size, strides = (_in_height_and_width(node, key) for key in ("ksize", "strides"))
    x = _padded(node, x, kernel_size, strides, float("-inf"))
    return _channels_last(F.max_pool2d(x, kernel_size, strides))


def pool_average(node, x):
    """Mean over the values of the window that are not padding."""
    kernel_size, strides = (_in_height_and_width(node, key) for key in ("ksize", "strides"))

    def sums(values):
        padded = _padded(node, values, kernel_size, strides)
        return _channels_last(F.avg_pool2d(padded, kernel_size, strides, divisor_override=1))

    return sums(x) / sums(x.new_ones(1, *x.shape[1:3], 1))


def resize_bilinear(node, x, size):
    """Row i of the output is row i * (old height / new height) of the input: the grid of 2015."""
    height, width = size.tolist()
    return _stretched(_stretched(x, 2, width), 1, height)


# Each takes its node and its inputs; Const is read by TorchGraph.
OPERATIONS = {
    "AvgPool": pool_average,
    "BatchNormWithGlobalNormalization": normalize,
    "CheckNumerics": lambda node, x: x,
    "Concat": lambda node, axis, *parts: torch.cat(parts, int(axis)),
    "Conv2D": convolve,
    "Identity": lambda node, x: x,
    "MaxPool": pool_maximum,
    "Mul": lambda node, a, b: a * b,
    "Relu": lambda node, x: x.relu(),
    "ResizeBilinear": resize_bilinear,
    "Sub": lambda node, a, b: a - b,
}


def _is_supported(node) -> bool:
    """Whether its operation is here, and no attribute asks for another form of it."""
    attributes = node.attr
    return (
        node.op in OPERATIONS
        and attributes["data_format"].s in (b"", b"NHWC")
        and attributes["padding"].s in (b"", b"SAME", b"VALID")
        and all(dilation == 1 for dilation in attributes["dilations"].list.i)
        and not (attributes["align_corners"].b or attributes["half_pixel_centers"].b)
    )


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def _in_height_and_width(node, key: str) -> tuple[int, int]:
    _, height, width, _ = node.attr[key].list.i
    return height, width


def _padded(node, x: torch.Tensor, kernel_size, strides, value: float = 0.0) -> torch.Tensor:
    """x (N, H, W, C) as (N, C, H, W), with the values around it that the node asks for."""
    x = x.permute(0, 3, 1, 2)
    is_same = node.attr["padding"].s == b"SAME"
    return pad_same(x, kernel_size, strides, value) if is_same else x


def _stretched(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """x with `size` values along `axis`, each between two neighbours of the old ones."""
    old_size = x.shape[axis]
    # In float32, as TensorFlow does: the weights of the neighbours come out the same.
    places = np.arange(size, dtype=np.float32) * (np.float32(old_size) / np.float32(size))
    before = np.floor(places)
    after = np.minimum(before + 1, old_size - 1)
    weights = torch.from_numpy(places - before).to(x.device)
    weights = weights.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    low, high = (
        x.index_select(axis, torch.from_numpy(index.astype(np.int64)).to(x.device))
        for index in (before, after)
    )
    return low + (high - low) * weights
