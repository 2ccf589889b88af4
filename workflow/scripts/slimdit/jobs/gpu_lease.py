"""Which GPUs a job has to itself: Snakemake counts GPUs but does not name them; locks do."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from slimdit.jobs.locks import try_lock

POLL_S = 0.2


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, found without waking any of them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listing = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return listing.stdout.split()
    return []


@contextlib.contextmanager
def leased_gpus(count: int, lock_dir: str | Path = ".snakemake/gpu") -> Iterator[list[str]]:
    """Hold `count` CUDA devices for this process alone; waits until that many are free.

    SLURM has already chosen where no more are visible; of an allocation that has more, in which
    Snakemake runs several jobs, they are leased too. The kernel drops the locks when the process
    ends, however it ends.
    """
    devices = visible_devices() if count > 0 else []
    allocation = os.environ.get("SLURM_JOB_ID", "")
    if not devices or (allocation and len(devices) <= count):
        yield devices
        return
    count = min(count, len(devices))
    previous = os.environ.get("CUDA_VISIBLE_DEVICES")
    held: dict[str, int] = {}
    try:
        while len(held) < count:
            for device in devices:
                if device not in held and len(held) < count:
                    descriptor = try_lock(Path(lock_dir) / allocation / f"{device}.lock")
                    if descriptor is not None:
                        held[device] = descriptor
            if len(held) < count:
                # Two jobs that each hold some and wait for more would wait for ever.
                while held:
                    os.close(held.popitem()[1])
                time.sleep(POLL_S)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        yield list(held)
    finally:
        if previous is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = previous
        for descriptor in held.values():
            os.close(descriptor)
