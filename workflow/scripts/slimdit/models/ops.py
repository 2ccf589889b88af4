"""The kernels that components use, chosen in one place.

`plain()` switches to the textbook form of the same mathematics: the reference in tests, and the
form in which costs are counted: a component that called a fused kernel itself would look free.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, library
from torch.nn import functional as F

GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715

_plain = False


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within this context components compute by matrix multiplications, by no fused kernel."""
    global _plain
    previous, _plain = _plain, True
    try:
        yield
    finally:
        _plain = previous


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for q (B, H, N, d), k and v (B, H, M, d); returns (B, H, N, d)."""
    if _plain:
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, N, M)
        return weights.softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


def gelu(x: Tensor) -> Tensor:
    """The tanh form of GELU: x (1 + tanh u) / 2, which is x sigmoid(2 u).

    Compiled for a CPU, the sigmoid is three times as fast; on its own, PyTorch has a kernel.
    """
    if torch.compiler.is_compiling():
        return x * torch.sigmoid(2 * GELU_SCALE * (x + GELU_CUBE * x * x * x))
    return F.gelu(x, approximate="tanh")


def autocast_dtype(x: Tensor) -> torch.dtype:
    """What a matrix multiplication of x would be in: for operators that autocast does not know."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def rows_of_groups(table: Tensor, group: Tensor) -> Tensor:
    """table[group]: (E, F), (R,) -> (R, F).

    As a multiplication, whose gradient is one too, with sums in float32: indexing would add up all
    rows of a group in the table's type, on a GPU in the order of chance.
    """
    if _plain:
        return table.index_select(0, group)
    chosen = aligned(F.one_hot(group, len(table)).to(table.dtype))  # (R, E or a little more)
    return chosen @ F.pad(table, (0, 0, 0, chosen.shape[1] - len(table)))


def pooled(image: Tensor, side: int) -> Tensor:
    """Means over equal squares, (B, C, h, h) -> (B, C, side, side); where h is no multiple of it,
    over squares that overlap, whose gradient on a GPU has no deterministic form."""
    size = image.shape[-1]
    if _plain or size % side:
        return F.adaptive_avg_pool2d(image, side)
    squares = image.reshape(*image.shape[:2], side, size // side, side, size // side)
    return squares.mean((3, 5))


def aligned(x: Tensor) -> Tensor:
    """x with columns of zeros up to a multiple of 8: rows of an odd length begin where no fast
    kernel of a GPU can read them. In the plain form x itself."""
    return x if _plain else F.pad(x, (0, -x.shape[-1] % 8))


def grouped_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Rows of x in E consecutive groups, each times its own matrix, in x's type.

    x: (R, K); weight: (E, K, F); ends: (E,) int32, where each group's rows end. Returns (R, F).
    """
    weight = weight.to(x.dtype)
    if _plain:
        return torch.cat([rows @ w for rows, w in zip(segments(x, ends), weight, strict=True)])
    return grouped_kernel(x)(x, weight, ends)


def grouped_kernel(x: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What is fastest for x's device and type: on a CPU one multiplication a group; GPUs, which
    must not wait for the groups' sizes, have a fused kernel (Hopper, bfloat16; those of later GPUs
    wait, or give groups without rows gradients that are not 0) or take blocks."""
    if not x.is_cuda:
        return segment_matmul
    is_fused = torch.cuda.get_device_capability(x.device)[0] == 9 and x.dtype == torch.bfloat16
    return fused_matmul if is_fused else blocked_matmul


def fused_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return F.grouped_mm(x, weight, offs=ends)


def blocked_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """One batched multiplication of blocks of rows, each of one group and filled up with zeros.

    As many blocks as there can be at most: no size is read on the host.
    """
    (num_rows, features), num_groups = x.shape, len(weight)
    side = min(max(2 ** (num_rows // (8 * num_groups)).bit_length(), 64), 1024)  # rows of a block
    num_blocks = -(-num_rows // side) + num_groups
    starts = F.pad(ends, (1, 0))  # (E + 1,)
    blocks = (starts.diff() + side - 1) // side  # of each group, (E,)
    block_ends = blocks.cumsum(0).to(ends.dtype)

    def indices(count: int) -> Tensor:
        return torch.arange(count, device=x.device, dtype=ends.dtype)

    group = torch.searchsorted(ends, indices(num_rows), right=True)  # of each row
    shift = (block_ends - blocks) * side - starts[:-1]
    place = (indices(num_rows) + shift[group]).long()  # of each row among the blocks
    owner = torch.searchsorted(block_ends, indices(num_blocks), right=True)  # of each block
    filled = x.new_zeros(num_blocks * side, features).index_copy(0, place, x)
    weights = rows_of_groups(weight.flatten(1), owner.clamp(max=num_groups - 1))
    weights = weights.unflatten(1, weight.shape[1:])  # (num_blocks, K, F)
    product = filled.view(num_blocks, side, features) @ weights
    return _Rows.apply(product.flatten(0, 1), place)


class _Rows(torch.autograd.Function):
    """x[place] where no row is taken twice: rows of the gradient are put back, not added up."""

    @staticmethod
    def forward(ctx, x: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.num_rows = len(x)
        return x[place]

    @staticmethod
    def backward(ctx, grad: Tensor):
        (place,) = ctx.saved_tensors
        return grad.new_zeros(ctx.num_rows, grad.shape[1]).index_copy(0, place, grad), None


def segments(x: Tensor, ends: Tensor) -> tuple[Tensor, ...]:
    """The rows of each group."""
    sizes = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
    return x.split(sizes)


# An operator of its own: group sizes are data, and would break a compiled graph otherwise.
@library.custom_op("slimdit::segment_matmul", mutates_args=())
def segment_matmul(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], weight.shape[2])
    for rows, matrix, target in zip(segments(x, ends), weight, segments(out, ends), strict=True):
        torch.mm(rows, matrix, out=target)
    return out


@segment_matmul.register_fake
def _(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[2])


@library.custom_op("slimdit::segment_outer", mutates_args=())
def segment_outer(x: Tensor, grad: Tensor, ends: Tensor) -> Tensor:
    """Each group's x^T grad: (R, K), (R, F) -> (E, K, F)."""
    out = x.new_empty(ends.shape[0], x.shape[1], grad.shape[1])
    for rows, columns, target in zip(segments(x, ends), segments(grad, ends), out, strict=True):
        torch.mm(rows.t(), columns, out=target)
    return out


@segment_outer.register_fake
def _(x: Tensor, grad: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.shape[0], x.shape[1], grad.shape[1])


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad: Tensor):
    x, weight, ends = ctx.saved_tensors
    grad = grad.contiguous()
    return segment_matmul(grad, weight.transpose(1, 2), ends), segment_outer(x, grad, ends), None


segment_matmul.register_autograd(_backward, setup_context=_save)
