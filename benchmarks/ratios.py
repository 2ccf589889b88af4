"""Two ways to the same result, timed interleaved: how many times as fast one is."""

import functools
import statistics
from collections.abc import Callable, Iterable

import numpy as np
import torch
from sides import Side
from torch import Tensor

from slimdit.profiling.latency import clock_s, interleaved, interleaved_times_s
from slimdit.profiling.roofline import measured_peaks

NUM_STARTS = 5  # of programs in processes of their own
TOLERANCE = 1e-4  # of float32
ROUNDED = 2e-2  # of matrix multiplications in bfloat16 or int8


def speedup(
    reference: Callable[[], object],
    ours: Callable[[], object],
    num_runs: int,
    device: torch.device,
) -> dict:
    """How many times as fast `ours` is: the median over the runs, and their quartiles.

    Each run has both once; one run of both goes before. Times are in seconds.
    """
    now_s = functools.partial(clock_s, device)
    return _ratios(*interleaved_times_s((reference, ours), 1, num_runs, now_s))


def speedup_apart(reference: Side, ours: Side, num_runs: int, tolerance: float) -> dict:
    """`speedup` of programs in processes of their own, interleaved all the same.

    They are started several times: where their memory comes to lie is chance, and can cost a third
    of a plain program's time. Has "largest_difference" of what they give, too; raises ValueError
    above the tolerance.
    """
    errors, reference_s, ours_s = [], [], []
    for runs in np.array_split(np.arange(num_runs), min(NUM_STARTS, num_runs)):
        with reference, ours:
            errors.append(equal_outputs(reference.outputs(), ours.outputs(), tolerance))
            theirs_s, own_s = interleaved((reference.seconds, ours.seconds), 1, len(runs))
        reference_s += theirs_s
        ours_s += own_s
    found = _ratios(reference_s, ours_s)
    return {"largest_difference": max(errors), "num_starts": len(errors), **found}


def _ratios(reference_s: list[float], ours_s: list[float]) -> dict:
    ratios = [theirs / own for theirs, own in zip(reference_s, ours_s, strict=True)]
    q25, median, q75 = statistics.quantiles(ratios, n=4)
    return {
        "reference_s": statistics.median(reference_s),
        "ours_s": statistics.median(ours_s),
        "all_reference_s": reference_s,
        "all_ours_s": ours_s,
        "speedup": median,
        "speedup_q25": q25,
        "speedup_q75": q75,
    }


def matmuls_alone(macs: int, dtype: torch.dtype, device: torch.device, reference_s: float) -> dict:
    """What the multiply-accumulates of `ours` would take at the peak that is measured on this
    machine now, and the speedup that is if nothing else took time."""
    products_s = macs / measured_peaks(device, dtype).macs_per_s
    return {"products_s": products_s, "largest_possible_speedup": reference_s / products_s}


def equal_outputs(
    expected: Iterable[Tensor], found: Iterable[Tensor], tolerance: float = TOLERANCE
) -> float:
    """`largest_difference`; raises ValueError above the tolerance."""
    largest = largest_difference(expected, found)
    if not largest <= tolerance:
        raise ValueError(f"the outputs differ by {largest:.1e}, more than {tolerance:g}")
    return largest


def tolerance_of(dtype: torch.dtype) -> float:
    return ROUNDED if dtype == torch.bfloat16 else TOLERANCE


def largest_difference(expected: Iterable[Tensor], found: Iterable[Tensor]) -> float:
    """The largest `difference` of all pairs."""
    return max(map(difference, expected, found))


def difference(expected: Tensor, found: Tensor) -> float:
    """The largest of any element, in parts of the largest expected value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()
