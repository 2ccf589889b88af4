"""How many threads a process was given."""

import os


def threads_asked(otherwise: int) -> int:
    """The first number of OMP_NUM_THREADS, which may be empty or a list such as "4,2" (OpenMP 5.2,
    section 21.1.2); `otherwise` where there is none."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else otherwise
