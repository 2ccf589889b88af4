"""How much of the machine other programs take while this one measures."""

import contextlib
import time
from collections.abc import Iterator

import psutil

WAITING = ("idle", "iowait")
COUNTED_TWICE = ("guest", "guest_nice")  # Linux has them in user and nice too


@contextlib.contextmanager
def time_of_others() -> Iterator[dict[str, float]]:
    """A dictionary that has, once the context has ended, as "others_s" how many seconds other
    processes, and other guests of the same host, kept cores busy, and as "wall_s" how long it took.

    A system counts in steps of 10 ms a core: of short times only the sum of many says something.
    """
    found: dict[str, float] = {}
    others_s, started_s = _others_s(), time.monotonic()
    yield found
    found["wall_s"] = time.monotonic() - started_s
    found["others_s"] = _others_s() - others_s


def _others_s() -> float:
    """Of all cores, since the machine started."""
    times = psutil.cpu_times()._asdict()
    busy_s = sum(s for name, s in times.items() if name not in (*WAITING, *COUNTED_TWICE))
    return busy_s - time.process_time()
