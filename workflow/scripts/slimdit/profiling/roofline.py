"""What a pass could take at best on this machine, and what keeps it from it.

A machine is two numbers, measured on it: the multiply-accumulates of a large matrix product and
the bytes of a large copy, in a second (Williams, Waterman & Patterson 2009).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from slimdit.core.randomness import stream
from slimdit.models.dit import DiT
from slimdit.profiling.cost import weight_bytes
from slimdit.profiling.latency import clock_s

PEAK_S = 0.5  # of repeating what is measured; the fastest counts
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}
WORTH_NAMING = 0.25  # fraction of a peak from which on it is what bounds a pass


@dataclass(frozen=True)
class Peaks:
    """What the machine does in a second, matrix multiplications in `dtype`."""

    macs_per_s: float
    bytes_per_s: float
    dtype: torch.dtype


def measured_peaks(device: torch.device, dtype: torch.dtype) -> Peaks:
    """Of a square matrix multiplication, and of a copy, which reads and writes."""
    side, size = MATRIX_SIDE[device.type], COPY_BYTES[device.type]
    # Drawn at random: a GPU is faster with constants, which cost it less power.
    numbers = stream(0, "peak").standard_normal((2, side, side), "float32")
    left, right = torch.from_numpy(numbers).to(device, dtype)
    product_s = _fastest_s(lambda: left @ right, device)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = _fastest_s(lambda: target.copy_(source), device)
    return Peaks(side**3 / product_s, 2 * size / copy_s, dtype)


def least_bytes(model: DiT, batch_size: int, dtype: torch.dtype) -> int:
    """Every stored weight is read once, and the hidden state of every token is read and written
    once by each block."""
    _, num_tokens, hidden_size = model.position_embedding.shape
    states = 2 * len(model.blocks) * batch_size * num_tokens * hidden_size
    return weight_bytes(model) + states * dtype.itemsize


def roofline(macs: int, num_bytes: int, latency_s: float, peaks: Peaks) -> dict:
    """How close a pass that has to do so much at least comes to the machine's peaks, and what
    bounds it.

    bound: "arithmetic" or "memory", whichever peak the pass comes closer to, if that is at least
    a quarter of it; else "overhead": launches, small products, passes over memory that a better
    program would not make.
    """
    macs_per_s, bytes_per_s = macs / latency_s, num_bytes / latency_s
    of_peak, of_bandwidth = macs_per_s / peaks.macs_per_s, bytes_per_s / peaks.bytes_per_s
    bound = "arithmetic" if of_peak >= of_bandwidth else "memory"
    return {
        "bytes_at_least": num_bytes,
        "achieved_macs_per_s": macs_per_s,
        "fraction_of_peak": of_peak,
        "achieved_bytes_per_s": bytes_per_s,
        "fraction_of_bandwidth": of_bandwidth,
        "bound": bound if max(of_peak, of_bandwidth) >= WORTH_NAMING else "overhead",
    }


def _fastest_s(call: Callable[[], object], device: torch.device) -> float:
    call()
    times_s: list[float] = []
    while sum(times_s) < PEAK_S:
        started_s = clock_s(device)
        call()
        times_s.append(clock_s(device) - started_s)
    return min(times_s)
