"""The most memory that a call takes, on the device that it runs on."""

import gc
from collections.abc import Callable

import torch

from slimdit.compute.allocator import give_back_freed_memory
from slimdit.compute.out_of_memory import is_out_of_memory

PASSES = 2  # the first one fills caches that the second one finds
KINDS = {"cpu": "cpu_peak_rss_growth", "cuda": "cuda_max_memory_allocated"}


def peak_memory(call: Callable[[], object], device: torch.device, baseline_rss_bytes: int) -> dict:
    """{"peak_memory_bytes", "peak_memory_kind"} of a few calls, one after the other.

    On CUDA torch.cuda.max_memory_allocated; on a CPU the highest resident set less
    `baseline_rss_bytes`, the resident set before the model was loaded. None bytes where the
    system does not tell, or has not as many.
    """
    kind = KINDS[device.type]
    gc.collect()
    _reset_peak(device)
    try:
        for _ in range(PASSES):
            call()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return {"peak_memory_bytes": None, "peak_memory_kind": kind}
    return {"peak_memory_bytes": _peak(device, baseline_rss_bytes), "peak_memory_kind": kind}


def _peak(device: torch.device, baseline_rss_bytes: int) -> int | None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    highest = _status_bytes("VmHWM")
    return highest - baseline_rss_bytes if highest else None


def resident_bytes() -> int:
    """This process's resident set; 0 where the system does not tell."""
    return _status_bytes("VmRSS")


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back_freed_memory()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # sets VmHWM to the present resident set
    except OSError:
        pass


def _status_bytes(field: str) -> int:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
