"""Which processes run Snakemake in a folder, so that the lock of a killed one can be lifted.

Snakemake's own lock is files that outlive it, without a word of whose they are.
"""

import atexit
import os
import shutil
import socket
from pathlib import Path

import psutil

from slimdit.files import read_json, write_json

LOCKS = Path(".snakemake/locks")
RUNS = Path(".snakemake/runs")


def register_run() -> None:
    """Note this process in its folder, for as long as it lives."""
    path = RUNS.absolute() / f"{socket.gethostname()}-{os.getpid()}.json"
    write_json(path, {"host": socket.gethostname(), **_identity(psutil.Process())})
    atexit.register(path.unlink, missing_ok=True)


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
    runs = [read_json(path) for path in _others()]
    return [f"{run['pid']} on {run['host']}" for run in runs if _may_be_alive(run)]


def _others() -> list[Path]:
    own = f"{socket.gethostname()}-{os.getpid()}.json"
    return [path for path in RUNS.glob("*.json") if path.name != own]


def _identity(process: psutil.Process) -> dict:
    return {"pid": process.pid, "started_s": process.create_time()}


def _may_be_alive(run: dict) -> bool:
    if run["host"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(run["pid"])
        is_same = _identity(process)["started_s"] == run["started_s"]
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
