"""How long a call takes on this machine, though other work may slow down some calls.

The smallest time of a few calls counts: it is what the machine can do.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

TARGET_S = 0.5  # of one timed call on a CPU, and of all timed calls where each is short
AFFORDABLE_S = 3.0  # of one call with one image, so that one with two is timed
PATIENCE_S = 6.0  # with calls of which there are two and not yet a few
FEW, MANY = 3, 20


@dataclass(frozen=True)
class Timed:
    """Seconds of one unit of work, and once a job besides.

    wall_s: None where it could not be measured, as `note` says. Measured at `measured_batch_size`
    and scaled in proportion to `batch_size`, where there is one.
    """

    wall_s: float | None
    once_s: float = 0.0
    batch_size: int | None = None
    measured_batch_size: int | None = None
    note: str | None = None


def time_batches(at: Callable[[int], Callable], batch_size: int, device) -> Timed:
    """Time `at(size)()`, a whole batch; on a CPU the size grows until a call takes about
    TARGET_S, of which what a call costs whatever its size is a small part.

    `once_s` is what the first call, which may compile, took more than the fastest.
    """
    size = 1 if device.type == "cpu" else batch_size
    while True:
        call = at(size)
        calls = [seconds_of(call, device)]
        if _larger(size, calls[0], batch_size) == size:  # no first call is too fast
            calls = repeated(call, device, calls)
        larger = _larger(size, min(calls), batch_size)
        if larger == size:
            return Timed(min(calls) * batch_size / size, calls[0] - min(calls), batch_size, size)
        size = larger


def time_images(at: Callable[[int], Callable], batch_size: int, device) -> Timed:
    """As time_batches, of one image."""
    timed = time_batches(at, batch_size, device)
    return replace(timed, wall_s=timed.wall_s / batch_size)


def fastest_s(call: Callable, device) -> float:
    return min(repeated(call, device, []))


def repeated(call: Callable, device, calls: list[float]) -> list[float]:
    """Seconds of `calls` and of more: a few, two where they are long, many where they are short."""
    while len(calls) < MANY:
        enough_s = PATIENCE_S if len(calls) < FEW else TARGET_S
        if len(calls) > 1 and sum(calls) + min(calls) > enough_s:
            break
        calls = [*calls, seconds_of(call, device)]
    return calls


def seconds_of(call: Callable, device) -> float:
    started_s = now_s(device)
    call()
    return now_s(device) - started_s


def now_s(device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _larger(size: int, call_s: float, batch_size: int) -> int:
    """The next size to time; the same where a call of this one takes long enough."""
    long_enough_s = AFFORDABLE_S if size == 1 else TARGET_S / 2
    if size == batch_size or call_s >= long_enough_s:
        return size
    return min(batch_size, max(2 * size, int(size * TARGET_S / call_s)))
