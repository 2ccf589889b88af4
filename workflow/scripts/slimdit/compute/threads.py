"""How many threads the numerical libraries take."""

import os
import re

SPINS = "GOMP_SPINCOUNT"  # of GNU's OpenMP: turns that a thread waits in a loop before it sleeps
NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_limits(count: int) -> dict[str, str]:
    """Environment variables that give the numerical libraries so many threads."""
    return dict.fromkeys(NAMES, str(count))


def thread_limit() -> int | None:
    """What OMP_NUM_THREADS says, of a list such as "4,2" the first; None where it says nothing."""
    first = re.match(r"\s*0*([1-9]\d*)\s*(,|$)", os.environ.get(NAMES[0], ""), re.ASCII)
    return int(first[1]) if first else None
