"""A frozen TensorFlow graph run by PyTorch, operation by operation.

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
            elif node.op in OPERATIONS:
                self.steps.append((node.name, partial(OPERATIONS[node.op], node), inputs))
            else:
                raise InputError(
                    f"{graph.path} needs the operation {node.op!r}, which backend torch lacks; "
                    "set backend to tensorflow."
                )
        self.num_uses = Counter(name for _, _, inputs in self.steps for name in inputs)
        self.num_uses.update(self.fetches)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """float32 images (B, H, W, 3) in 0..255 to the fetched arrays, all channels last."""
        values = {**self.constants, self.feed: torch.from_numpy(images).to(self.device)}
        num_uses = Counter(self.num_uses)
        # TF32 would round the features of a GPU to three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
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
    if any(dilation != 1 for dilation in node.attr["dilations"].list.i):
        raise InputError(f"{node.name} has dilations; backend torch has none, use tensorflow.")
    x = _padded(node, x, kernel.shape[:2], strides)
    kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return _channels_last(F.conv2d(_channels_first(x), kernel, stride=strides))


def normalize(node, x, mean, variance, beta, gamma):
    scale = torch.rsqrt(variance + node.attr["variance_epsilon"].f)
    if node.attr["scale_after_normalization"].b:
        scale = scale * gamma
    return torch.addcmul(beta - mean * scale, x, scale)


def pool_maximum(node, x):
    kernel_size, strides = (_in_height_and_width(node, key) for key in ("ksize", "strides"))
    x = _padded(node, x, kernel_size, strides, float("-inf"))
    return _channels_last(F.max_pool2d(_channels_first(x), kernel_size, strides))


def pool_average(node, x):
    """Mean over the values of the window that are not padding."""
    kernel_size, strides = (_in_height_and_width(node, key) for key in ("ksize", "strides"))

    def sums(values):
        padded = _channels_first(_padded(node, values, kernel_size, strides))
        return _channels_last(F.avg_pool2d(padded, kernel_size, strides, divisor_override=1))

    return sums(x) / sums(x.new_ones(1, *x.shape[1:3], 1))


def resize_bilinear(node, x, size):
    """Row i of the output is row i * (old height / new height) of the input: the grid of 2015."""
    if node.attr["align_corners"].b or node.attr["half_pixel_centers"].b:
        raise InputError(
            f"{node.name} has align_corners or half_pixel_centers set; "
            "backend torch has neither, use tensorflow."
        )
    height, width = size.tolist()
    return _stretched(_stretched(x, 2, width), 1, height)


def multiply_matrices(node, a, b):
    a = a.T if node.attr["transpose_a"].b else a
    return a @ (b.T if node.attr["transpose_b"].b else b)


def squeeze(node, x):
    axes = list(node.attr["squeeze_dims"].list.i)
    return x.squeeze(axes) if axes else x.squeeze()


def cast(node, x):
    from tensorboard.compat.tensorflow_stub.dtypes import as_dtype

    name = as_dtype(node.attr["DstT"].type).name
    return x.to(getattr(torch, name))


def identity(node, x):
    return x


# Each takes its node and its inputs; Const is read by TorchGraph.
OPERATIONS = {
    "Add": lambda node, a, b: a + b,
    "AddV2": lambda node, a, b: a + b,
    "AvgPool": pool_average,
    "BatchNormWithGlobalNormalization": normalize,
    "BiasAdd": lambda node, x, bias: x + bias,
    "Cast": cast,
    "CheckNumerics": identity,
    "Concat": lambda node, axis, *parts: torch.cat(parts, int(axis)),
    "ConcatV2": lambda node, *parts: torch.cat(parts[:-1], int(parts[-1])),
    "Conv2D": convolve,
    "ExpandDims": lambda node, x, axis: x.unsqueeze(int(axis)),
    "Identity": identity,
    "MatMul": multiply_matrices,
    "MaxPool": pool_maximum,
    "Mul": lambda node, a, b: a * b,
    "Relu": lambda node, x: x.relu(),
    "Reshape": lambda node, x, shape: x.reshape(shape.tolist()),
    "ResizeBilinear": resize_bilinear,
    "Softmax": lambda node, x: x.softmax(-1),
    "Squeeze": squeeze,
    "Sub": lambda node, a, b: a - b,
}


def _channels_first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def _in_height_and_width(node, key: str) -> tuple[int, int]:
    of_batch, height, width, of_channels = node.attr[key].list.i
    if (of_batch, of_channels) != (1, 1) or node.attr["data_format"].s not in (b"", b"NHWC"):
        raise InputError(
            f"{node.name} is not in the order NHWC, or its {key} are not of height and width; "
            "backend torch reads no other, use tensorflow."
        )
    return height, width


def _padded(node, x: torch.Tensor, kernel_size, strides, value: float = 0.0) -> torch.Tensor:
    """x (N, H, W, C) with the values around it that the node's padding asks for."""
    if node.attr["padding"].s == b"VALID":
        return x
    if node.attr["padding"].s != b"SAME":
        raise InputError(f"{node.name} has explicit padding; it should be VALID or SAME.")
    top, bottom = _same_padding(x.shape[1], kernel_size[0], strides[0])
    left, right = _same_padding(x.shape[2], kernel_size[1], strides[1])
    if not (top or bottom or left or right):
        return x
    return F.pad(x, (0, 0, left, right, top, bottom), value=value)


def _same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Values before and after, so that ceil(size / stride) come out; odd ones go after."""
    total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


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
