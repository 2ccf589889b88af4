"""Locks that the kernel drops when their process ends, however it ends."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from slimdit.storage.courtesies import warn_of_lack

POLL_S = 0.5
NO_LOCKS = "gives no lock"


def lock_at(path: Path) -> BaseFileLock:
    """To be acquired: raises Timeout at once where another process holds it, and another OSError
    where the file system has no locks."""
    return FileLock(path, blocking=False, fallback_to_soft=False)


@contextlib.contextmanager
def sole_process(what: str, folder: str | Path = ".snakemake/jobs") -> Iterator[None]:
    """Wait until no other process is at work on `what`: one may have outlived a run that was
    killed, and what it writes must not come after what this one writes.

    Where the file system has no locks it does not wait, with a warning.
    """
    lock = lock_at(Path(folder) / f"{what.replace('/', '.')}.lock")
    try:
        try:
            lock.acquire()
        except Timeout:
            print(f"{what}: waits for another process, at work on it too.", file=sys.stderr)
            lock.acquire(blocking=True, poll_interval=POLL_S)
    except OSError as error:
        warn_of_lack(
            NO_LOCKS, str(error), "start no second run before all jobs of a first have ended"
        )
    try:
        yield
    finally:
        lock.release()
