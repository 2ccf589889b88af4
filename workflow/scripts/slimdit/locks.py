"""Locks that the kernel drops when their process ends, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from slimdit.errors import InputError


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; None where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # a file system without locks
    return descriptor


@contextlib.contextmanager
def sole_process(what: str, folder: str | Path = ".snakemake/jobs") -> Iterator[None]:
    """Raise InputError where another process is at work on `what`.

    It may have outlived a run that was killed.
    """
    path = Path(folder) / f"{what.replace('/', '.')}.lock"
    descriptor = try_lock(path)
    if descriptor is None:
        raise InputError(
            f"{what}: process {path.read_text() or 'unknown'} is at work on it; "
            "wait for it, or end it and start again."
        )
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
