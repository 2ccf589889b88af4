"""How the C library keeps memory between the steps of a job."""

import ctypes

# Of a block that is kept; glibc before 2.35 takes no more than the second.
LARGEST_BYTES = (2**30, 2**25)
# Of free memory at the end of the heap.
KEPT_BYTES = 2**30
# Parameters of mallopt in <malloc.h>, which returns 0 for a value that it does not take.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """From here on a step finds the memory that the last one freed, where the C library can.

    Given back to the system, as is its habit with large blocks, it would have to be cleared page
    by page in each step: a tenth of a training step of a small model on a CPU.
    """
    mallopt = _function("mallopt")
    if mallopt and any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST_BYTES):
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Once, for the resident set to be what is in use."""
    trim = _function("malloc_trim")
    if trim:
        trim(0)


def _function(name: str):
    return getattr(ctypes.CDLL(None), name, None)
