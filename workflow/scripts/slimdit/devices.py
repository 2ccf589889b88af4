"""Which device a job computes on, and how many jobs share it: one.

Snakemake counts GPUs but does not name them; a file lock per device does.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from slimdit.locks import try_lock

POLL_S = 0.2
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # what cuBLAS needs to repeat its bits


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


def make_deterministic() -> None:
    """From here on a GPU gives the same bits again, or raises for an operation that cannot.

    To be called before CUDA starts. A CPU always does, with as many threads.
    """
    os.environ[WORKSPACE] = ":4096:8"


def device():
    """The torch device of this process: its own of the leased GPUs, or the CPU."""
    import torch

    torch.use_deterministic_algorithms(WORKSPACE in os.environ)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def on_cuda(choice: str, yes: str, device) -> bool:
    """Whether an option of a config is on: `auto` means on CUDA."""
    return choice == yes or (choice == "auto" and device.type == "cuda")


def cxx_compiler() -> str | None:
    """Where a compiler of C++ is, or None."""
    return shutil.which("g++") or shutil.which("clang++")
