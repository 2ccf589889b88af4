"""Locks that the kernel drops when their process ends, however it ends."""

import contextlib
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.5


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; None where another process has it.

    Raises OSError on a file system without locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def sole_process(what: str, folder: str | Path = ".snakemake/jobs") -> Iterator[None]:
    """Wait until no other process is at work on `what`: one may have outlived a run that was
    killed, and what it writes must not come after what this one writes."""
    path = Path(folder) / f"{what.replace('/', '.')}.lock"
    try:
        descriptor = _lock(path, what)
    except OSError:  # a file system without locks
        yield
        return
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, what: str) -> int:
    is_told = False
    while (descriptor := try_lock(path)) is None:
        if not is_told:
            process = path.read_text() or "unknown"
            print(f"{what}: waits for process {process}, at work on it too.", file=sys.stderr)
            is_told = True
        time.sleep(POLL_S)
    return descriptor
