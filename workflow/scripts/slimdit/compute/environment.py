"""What a process and its numerical libraries are told by environment variables; torch-free."""

import os
import re

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SPINS = "GOMP_SPINCOUNT"  # of GNU's OpenMP: turns that a thread waits in a loop before it sleeps
WAITING = (SPINS, "OMP_WAIT_POLICY")
# Longer than the gaps within a step, so that a quiet machine loses nothing; so short that beside
# another program threads do not burn the cores that those whom they wait for need.
NUM_SPINS = 1000
PROCESS_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def settle() -> None:
    """Before a numerical library is loaded: threads that wait for each other soon sleep, unless
    the user has told them how to wait; and what runs here is alone, though a launcher of another's,
    such as of a cluster's pods, has numbered the processes that it starts."""
    if not any(map(os.environ.get, WAITING)):
        os.environ[SPINS] = str(NUM_SPINS)
    for name in PROCESS_GROUP:
        os.environ.pop(name, None)


def thread_limits(count: int) -> dict[str, str]:
    """Variables that give the numerical libraries so many threads."""
    return dict.fromkeys(THREADS, str(count))


def thread_limit() -> int | None:
    """What OMP_NUM_THREADS says, of a list such as "4,2" the first; None where it says nothing."""
    first = re.match(r"\s*0*([1-9]\d*)\s*(,|$)", os.environ.get(THREADS[0], ""), re.ASCII)
    return int(first[1]) if first else None
