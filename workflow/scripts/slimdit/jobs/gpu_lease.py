"""Which GPUs a job has to itself: Snakemake counts GPUs but does not name them; locks do."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock

from slimdit.jobs.locks import try_lock

POLL_S = 0.2
VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, found without waking any of them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listing = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return listing.stdout.split()
    return []


@contextlib.contextmanager
def leased_gpus(count: int, lock_dir: str | Path = ".snakemake/gpu") -> Iterator[list[str]]:
    """Hold `count` CUDA devices for this process alone, or all where there are fewer; waits until
    that many are free. From here on the process sees no others.

    SLURM has already chosen where no more are visible; of an allocation that has more, in which
    Snakemake runs several jobs, they are leased too.
    """
    devices = visible_devices() if count > 0 else []
    allocation = os.environ.get("SLURM_JOB_ID", "")
    if not devices or (allocation and len(devices) <= count):
        yield devices
        return
    held = _wait_for(min(count, len(devices)), devices, Path(lock_dir) / allocation)
    try:
        os.environ[VISIBLE] = ",".join(held)
        yield list(held)
    finally:
        _release(held)


def _wait_for(count: int, devices: list[str], folder: Path) -> dict[str, BaseFileLock]:
    while True:
        held: dict[str, BaseFileLock] = {}
        for device in devices:
            if len(held) < count and (lock := try_lock(folder / f"{device}.lock")):
                held[device] = lock
        if len(held) == count:
            return held
        # Two jobs that each hold some and wait for more would wait for ever.
        _release(held)
        time.sleep(POLL_S)


def _release(held: dict[str, BaseFileLock]) -> None:
    for lock in held.values():
        lock.release()
