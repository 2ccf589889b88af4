"""Products of float32 by three of bfloat16, on CPUs that multiply tiles of it (AMX).

A number is the sum of two of bfloat16 and less than 2^-16 of itself: x = x_h + x_l. Of the product
x w = x_h w_h + x_h w_l + x_l w_h + x_l w_l the last term is left out, and the others are summed in
float32: the matmul precision that PyTorch calls "high", and has on GPUs.
"""

import functools
import logging
import os
import platform
import subprocess
from pathlib import Path

import torch
from torch import Tensor, library, nn
from torch.nn import functional as F

from slimdit.devices import cxx_compiler
from slimdit.errors import InputError
from slimdit.files import atomic_path, fingerprint
from slimdit.kernels import segments
from slimdit.locks import sole_process

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp", "-mavx512f", "-mavx512bw")
COLUMNS = 128  # of a block of a packed weight


class Halves(nn.Module):
    """A float32 weight (K, N), or (E, K, N) of E groups, K even, as two of bfloat16, in the order
    that tiles are read.

    high, low: (..., ceil(N / COLUMNS), K / 2, COLUMNS, 2). width: N.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        self.width = weight.shape[-1]
        high = weight.to(torch.bfloat16)
        self.register_buffer("high", _packed(high))
        self.register_buffer("low", _packed((weight - high).to(torch.bfloat16)))

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        """Rows x (R, K) of groups that end at `ends` (E,), each by its group's weight: (R, N)."""
        return split_segments(x, self.high, self.low, ends, self.width)


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


@library.custom_op("slimdit::split_linear", mutates_args=())
def split_linear(x: Tensor, high: Tensor, low: Tensor, bias: Tensor | None, width: int) -> Tensor:
    out = x.new_empty(*x.shape[:-1], width)
    torch.ops.slimdit.multiply_split(x.flatten(0, -2).contiguous(), high, low, bias, out)
    return out


@split_linear.register_fake
def _(x: Tensor, high: Tensor, low: Tensor, bias: Tensor | None, width: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], width)


@library.custom_op("slimdit::split_segments", mutates_args=())
def split_segments(x: Tensor, high: Tensor, low: Tensor, ends: Tensor, width: int) -> Tensor:
    out = x.new_empty(len(x), width)
    each = segments(x.contiguous(), ends), high, low, segments(out, ends)
    for rows, own_high, own_low, target in zip(*each, strict=True):
        torch.ops.slimdit.multiply_split(rows, own_high, own_low, None, target)
    return out


@split_segments.register_fake
def _(x: Tensor, high: Tensor, low: Tensor, ends: Tensor, width: int) -> Tensor:
    return x.new_empty(len(x), width)


@functools.cache
def load_kernel() -> None:
    """Make the operator slimdit::multiply_split known; the first time it is compiled, in seconds,
    and kept in the user's cache.

    Raises InputError where that fails.
    """
    compiler = cxx_compiler()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    made_by = [torch.__version__, version, platform.libc_ver(), FLAGS, SOURCE.read_text("utf-8")]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "slimdit"
    path = folder / f"{SOURCE.stem}-{fingerprint(made_by)}.so"
    try:
        with sole_process(path.stem, folder):
            if not path.exists():
                log.info("compiling %s to %s", SOURCE.name, path)
                _compile(compiler, path)
        torch.ops.load_library(path)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"{SOURCE.name} cannot be compiled to {path}, or not loaded ({error}); let "
            "XDG_CACHE_HOME be a folder that can be written, or use the precision float32."
        ) from None


def _compile(compiler: str, path: Path) -> None:
    around = Path(torch.__file__).parent
    with atomic_path(path) as temporary:
        command = [compiler, *FLAGS, "-isystem", around / "include", SOURCE, "-o", temporary]
        command += [f"-L{around / 'lib'}", "-ltorch_cpu", "-lc10"]
        subprocess.run(command, check=True)
