"""Which processes run Snakemake in a folder, so that the lock of a killed one can be lifted.

Snakemake's own lock is files that outlive it, without a word of whose they are.
"""

import atexit
import os
import shutil
import socket
from pathlib import Path

from slimdit.jobs.locks import try_lock

LOCKS = Path(".snakemake/locks")
RUNS = Path(".snakemake/runs")


def register_run() -> None:
    """Hold a lock named after this process in its folder, for as long as it lives.

    On a file system without locks nobody is noted.
    """
    path = (RUNS / _own_name()).absolute()
    atexit.register(path.unlink, missing_ok=True)
    try:
        try_lock(path)
    except OSError:
        path.unlink(missing_ok=True)


def lift_stale_locks() -> None:
    """Remove the folder's locks where those who were noted are dead, as they are after a kill.

    On another machine a process cannot be seen: locks then stay, as where nobody was noted.
    """
    paths = _others()
    if not paths or live_runs():
        return
    shutil.rmtree(LOCKS, ignore_errors=True)
    for path in paths:
        path.unlink(missing_ok=True)


def live_runs() -> list[str]:
    """Other processes that run Snakemake in this folder, for people to read."""
    return [
        "{1} on {0}".format(*path.stem.rsplit("-", 1)) for path in _others() if _may_be_alive(path)
    ]


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}.lock"


def _others() -> list[Path]:
    return [path for path in RUNS.glob("*-*.lock") if path.name != _own_name()]


def _may_be_alive(path: Path) -> bool:
    if not path.name.startswith(f"{socket.gethostname()}-"):
        return True
    try:
        descriptor = try_lock(path)
    except OSError:  # a file system without locks
        return True
    if descriptor is None:
        return True
    os.close(descriptor)
    return False
