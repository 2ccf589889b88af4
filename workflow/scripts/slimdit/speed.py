"""What a model costs on the clock and in memory, on the device that measures it."""

import gc
import shutil
import statistics
import time

import torch
from torch import nn

from slimdit.backbone import DiT


def measure_forward(
    model: nn.Module,
    inputs: tuple,
    warmup_iterations: int,
    timed_iterations: int,
    device: torch.device,
    baseline_rss_bytes: int,
) -> dict:
    """Time forward passes one by one; median and quartiles, in milliseconds.

    Peak memory: on CUDA torch.cuda.max_memory_allocated; on a CPU the highest resident set
    during these passes less `baseline_rss_bytes`, the resident set before the model was loaded.
    """
    gc.collect()
    _reset_peak(device)
    latencies_ms = []
    with torch.inference_mode():
        for iteration in range(warmup_iterations + timed_iterations):
            started = _now_s(device)
            model(*inputs)
            if iteration >= warmup_iterations:
                latencies_ms.append(1e3 * (_now_s(device) - started))
    q25, median, q75 = statistics.quantiles(latencies_ms, n=4)
    batch_size = len(inputs[0])
    return {
        "batch_size": batch_size,
        "dtype": str(inputs[0].dtype).removeprefix("torch."),
        "warmup_iterations": warmup_iterations,
        "timed_iterations": timed_iterations,
        "latency_ms": median,
        "latency_ms_q25": q25,
        "latency_ms_q75": q75,
        "iterations_per_s": 1e3 / median,
        "images_per_s": 1e3 * batch_size / median,
        **_peak_memory(device, baseline_rss_bytes),
    }


def compile_blocks(model: DiT) -> None:
    """Compile the transformer block once for all blocks, in place, without graph breaks.

    The rest is a few small layers; compiling them too takes several times as long. On CUDA with
    autotuned kernels, on a CPU with Inductor's defaults.
    """
    options = {"mode": "max-autotune-no-cudagraphs"} if next(model.parameters()).is_cuda else {}
    for block in model.blocks:
        block.compile(fullgraph=True, **options)


def cannot_compile(device: torch.device) -> str | None:
    """Why torch.compile cannot be used here, or None."""
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return "torch.compile needs a C++ compiler on the CPU, and there is none"
    return None


def resident_bytes() -> int:
    """This process's resident set; 0 where the system does not tell."""
    return _status_bytes("VmRSS")


def _now_s(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # sets VmHWM to the present resident set
    except OSError:
        pass


def _peak_memory(device: torch.device, baseline_rss_bytes: int) -> dict:
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        return {"peak_memory_bytes": peak, "peak_memory_kind": "cuda_max_memory_allocated"}
    peak = _status_bytes("VmHWM") - baseline_rss_bytes
    return {"peak_memory_bytes": peak or None, "peak_memory_kind": "cpu_peak_rss_growth"}


def _status_bytes(field: str) -> int:
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
