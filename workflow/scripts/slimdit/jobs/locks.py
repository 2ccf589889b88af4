"""Locks that the kernel drops when their process ends, however it ends."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

POLL_S = 0.5


def try_lock(path: Path) -> BaseFileLock | None:
    """A lock that is held until `release`; None where another process holds it.

    Where the file system has no locks it is granted: they are a courtesy, no condition of the work.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError:
        pass
    return lock


@contextlib.contextmanager
def sole_process(what: str, folder: str | Path = ".snakemake/jobs") -> Iterator[None]:
    """Wait until no other process is at work on `what`: one may have outlived a run that was
    killed, and what it writes must not come after what this one writes."""
    path = Path(folder) / f"{what.replace('/', '.')}.lock"
    lock = try_lock(path)
    if lock is None:
        print(f"{what}: waits for another process, at work on it too.", file=sys.stderr)
    while lock is None:
        time.sleep(POLL_S)
        lock = try_lock(path)
    try:
        yield
    finally:
        lock.release()
