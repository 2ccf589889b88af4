"""The most memory that a call takes, on the device that it runs on."""

import contextlib
import gc
import re
from collections.abc import Callable
from pathlib import Path

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
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        give_back_freed_memory()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM is the present resident set
    num_bytes = None
    try:
        for _ in range(PASSES):
            call()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    else:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            num_bytes = torch.cuda.max_memory_allocated(device)
        elif highest := _status_bytes("VmHWM"):
            num_bytes = highest - baseline_rss_bytes
    return {"peak_memory_bytes": num_bytes, "peak_memory_kind": KINDS[device.type]}


def resident_bytes() -> int:
    """This process's resident set; 0 where the system does not tell."""
    return _status_bytes("VmRSS")


def _status_bytes(field: str) -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{field}:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
