"""Which GPUs a job has to itself: Snakemake counts GPUs but does not name them; locks do."""

import contextlib
import itertools
import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from slimdit.compute.devices import VISIBLE
from slimdit.jobs.locks import NO_LOCKS, lock_at
from slimdit.storage.courtesies import warn_of_lack

POLL_S = 0.2
NO_DEVICE = ("-1", "NoDevFiles")  # of CUDA and of SLURM: neither this one nor those behind it

log = logging.getLogger(__name__)


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, found without waking any of them:
    those that the user or SLURM gives, or else each GPU's, or that of each of its MIG parts."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        names = filter(None, (name.strip() for name in named.split(",")))
        return list(itertools.takewhile(lambda name: name not in NO_DEVICE, names))
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--list-gpus"]
        listing = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
        return devices_in(listing.stdout)
    return []


def devices_in(listing: str) -> list[str]:
    """The UUIDs that nvidia-smi --list-gpus prints; the parts of a GPU stand in its place."""
    found = re.findall(r"UUID: ((?:GPU|MIG)-[\w-]+)", listing)
    followers = [*found[1:], ""]
    return [
        device
        for device, follower in zip(found, followers, strict=True)
        if device.startswith("MIG") or not follower.startswith("MIG")
    ]


@contextlib.contextmanager
def leased_gpus(count: int, lock_dir: str | Path = ".snakemake/gpu") -> Iterator[list[str]]:
    """Hold `count` CUDA devices for this process alone, or all where there are fewer; waits until
    that many are free. From here on the process sees no others, without any if `count` is 0.

    SLURM has already chosen where no more are visible; of an allocation that has more, in which
    Snakemake runs several jobs, they are leased too. Where the file system has no locks, the first
    ones are taken, with a warning.
    """
    devices = visible_devices() if count > 0 else []
    allocation = os.environ.get("SLURM_JOB_ID", "")
    if count > 0 and not devices:
        log.info("Neither %s nor nvidia-smi names a GPU.", VISIBLE)
        yield []
        return
    if count == 0 or (allocation and len(devices) <= count):
        os.environ[VISIBLE] = ",".join(devices)
        yield devices
        return
    folder, count = Path(lock_dir) / allocation, min(count, len(devices))
    with contextlib.ExitStack() as locks:
        while len(held := _free_devices(count, devices, folder, locks)) < count:
            # Two jobs that each hold some and wait for more would wait for ever.
            locks.close()
            time.sleep(POLL_S)
        os.environ[VISIBLE] = ",".join(held)
        yield held


def _free_devices(
    count: int, devices: list[str], folder: Path, locks: contextlib.ExitStack
) -> list[str]:
    """At most `count` of those that no other process has, held until `locks` are closed."""
    held = []
    for device in devices:
        try:
            if len(held) < count:
                locks.enter_context(lock_at(folder / f"{device}.lock"))
                held.append(device)
        except Timeout:
            continue
        except OSError as error:
            cost = f"let one job at a time use the GPUs, with --resources gpu={count}"
            warn_of_lack(NO_LOCKS, str(error), cost)
            return devices[:count]
    return held
