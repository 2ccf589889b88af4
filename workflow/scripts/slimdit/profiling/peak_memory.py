"""The memory that a model and a pass through it take, as PyTorch's allocators count it."""

import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.profiling.cost import weight_bytes

KINDS = {"cpu": "cpu_weights_and_allocated", "cuda": "cuda_max_memory_allocated"}


def peak_memory(model: nn.Module, call: Callable[[], object], device: torch.device) -> dict:
    """{"peak_memory_bytes", "peak_memory_kind"} of `call`, which is a pass through `model`.

    On CUDA torch.cuda.max_memory_allocated; on a CPU the model's weights and the most bytes that
    the pass had allocated at once. Neither counts the pages of libraries or memory that a process
    keeps for later. None bytes where the memory does not suffice.
    """
    num_bytes = None
    try:
        call()  # fills caches that the next pass finds
        num_bytes = _of_cuda(call, device) if device.type == "cuda" else _of_cpu(model, call)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return {"peak_memory_bytes": num_bytes, "peak_memory_kind": KINDS[device.type]}


def _of_cuda(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _of_cpu(model: nn.Module, call: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    changes = [(each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]"]
    allocated = itertools.accumulate(num_bytes for _, num_bytes in sorted(changes))
    return weight_bytes(model) + max(allocated, default=0)
