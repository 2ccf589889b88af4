"""Products of float32 by three of bfloat16, on CPUs that multiply tiles of it (AMX).

A number is the sum of two of bfloat16 and less than 2^-16 of itself: x = x_h + x_l. Of the product
x w = x_h w_h + x_h w_l + x_l w_h + x_l w_l the last term is left out, and the others are summed in
float32: the matmul precision that PyTorch calls "high", and has on GPUs.
"""

import functools
import hashlib
import logging
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.devices import cxx_compiler
from slimdit.files import atomic_path
from slimdit.locks import sole_process

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp", "-mavx512f", "-mavx512bw")
COLUMNS = 128  # of a block of a packed weight


class Halves(nn.Module):
    """A float32 weight (..., K, N), K even, as two of bfloat16, in the order that tiles are read.

    high, low: (..., ceil(N / COLUMNS), K / 2, COLUMNS, 2). width: N.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        load_kernel()
        self.width = weight.shape[-1]
        high = weight.to(torch.bfloat16)
        self.register_buffer("high", _packed(high))
        self.register_buffer("low", _packed((weight - high).to(torch.bfloat16)))


class SplitLinear(nn.Module):
    """`linear` by its weight's halves."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = Halves(linear.weight.detach().t()), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., K) -> (..., N)."""
        return split_linear(x, self.weight.high, self.weight.low, self.bias, self.weight.width)


def _packed(half: Tensor) -> Tensor:
    """(..., K, N) -> (..., ceil(N / COLUMNS), K / 2, COLUMNS, 2), filled up with zeros."""
    *groups, depth, width = half.shape
    filled = F.pad(half, (0, -width % COLUMNS)).view(*groups, depth // 2, 2, -1, COLUMNS)
    return filled.movedim(-2, -4).transpose(-1, -2).contiguous()


@torch.library.custom_op("slimdit::split_linear", mutates_args=())
def split_linear(x: Tensor, high: Tensor, low: Tensor, bias: Tensor | None, width: int) -> Tensor:
    out = x.new_empty(*x.shape[:-1], width)
    torch.ops.slimdit.multiply_split(x.flatten(0, -2).contiguous(), high, low, bias, out)
    return out


@split_linear.register_fake
def _(x: Tensor, high: Tensor, low: Tensor, bias: Tensor | None, width: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], width)


@torch.library.custom_op("slimdit::split_segments", mutates_args=())
def split_segments(x: Tensor, high: Tensor, low: Tensor, ends: Tensor, width: int) -> Tensor:
    """Rows of x (R, K) in consecutive groups that end at `ends` (E,), each by its own weight."""
    out = x.new_empty(len(x), width)
    for group, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
        rows, target = x[start:end].contiguous(), out[start:end]
        torch.ops.slimdit.multiply_split(rows, high[group], low[group], None, target)
    return out


@split_segments.register_fake
def _(x: Tensor, high: Tensor, low: Tensor, ends: Tensor, width: int) -> Tensor:
    return x.new_empty(len(x), width)


@functools.cache
def load_kernel() -> None:
    """Make the operator slimdit::multiply_split known; compiled once on a machine, in seconds."""
    from torch.utils import cpp_extension

    origin = f"{torch.__version__}\0{FLAGS}\0{SOURCE.read_text(encoding='utf-8')}"
    name = f"{SOURCE.stem}-{hashlib.sha256(origin.encode()).hexdigest()[:16]}.so"
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    library = Path(root) / "slimdit" / name
    with sole_process(library.stem, folder=library.parent):
        if not library.exists():
            log.info("compiling %s to %s", SOURCE.name, library)
            _compile(library, cpp_extension.include_paths(), cpp_extension.library_paths())
    torch.ops.load_library(library)


def _compile(library: Path, include_paths: list[str], library_paths: list[str]) -> None:
    with atomic_path(library) as temporary:
        command = [cxx_compiler(), *FLAGS, str(SOURCE), "-o", str(temporary)]
        command += [argument for path in include_paths for argument in ("-isystem", path)]
        command += [f"-L{path}" for path in library_paths]
        subprocess.run([*command, "-ltorch_cpu", "-lc10"], check=True)
