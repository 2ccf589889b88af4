"""Tensors on a CUDA device that have shapes, types and places, and no values."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

MEMORY_BYTES = 140 << 30
PINNED = "lies_in_pinned_memory"


@contextlib.contextmanager
def fake_cuda(capability: tuple[int, int] = (9, 0)) -> Iterator[torch.device]:
    """Within this context CUDA is there, and every tensor is fake; `fake_cuda.load` comes first.

    A module that was made outside of it comes in by `.to(device)`, and loses its values.
    """
    major, minor = capability
    about = SimpleNamespace(
        name="fake",
        major=major,
        minor=minor,
        uuid="0",
        total_memory=MEMORY_BYTES,
        multi_processor_count=132,
        max_threads_per_multi_processor=2048,
        regs_per_multiprocessor=65536,
        L2_cache_size=50 << 20,
        warp_size=32,
        gcnArchName="",
    )
    of_cuda = {
        "is_available": True,
        "current_device": 0,
        "get_device_properties": about,
        "get_device_capability": capability,
        "get_device_name": about.name,
        "mem_get_info": (MEMORY_BYTES, MEMORY_BYTES),
        "max_memory_allocated": 0,
        "reset_peak_memory_stats": None,
        "synchronize": None,
    }
    with contextlib.ExitStack() as stack:
        # While CUDA is seen to be absent: the mode then asks no driver.
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))

        def replace(owner: object, name: str, value: object) -> None:
            stack.enter_context(mock.patch.object(owner, name, value))

        for name, value in of_cuda.items():
            replace(torch.cuda, name, lambda *_, value=value, **__: value)
        replace(FakeTensorMode, "avoid_device_init", True)
        replace(FakeTensorMode, "may_turn_const", lambda self, tensor: False)
        replace(torch.Tensor, "pin_memory", _pinned)
        replace(torch.Tensor, "is_pinned", lambda tensor: hasattr(tensor, PINNED))
        replace(torch.Tensor, "numpy", _zeros)
        replace(nn.Module, "to", _to)
        yield torch.device("cuda", 0)


def _to(module: nn.Module, *args, **kwargs) -> nn.Module:
    """`Module.to`, which takes each tensor of a quantized parameter too for what it is."""
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)

    def there(tensor: torch.Tensor) -> torch.Tensor:
        fake = mode.from_tensor(tensor.detach(), static_shapes=True)
        options = {"memory_format": layout} if layout and tensor.dim() == 4 else {}
        return fake.to(device, dtype if tensor.is_floating_point() else None, **options)

    for each in module.modules():
        for name, parameter in each.named_parameters(recurse=False):
            if parameter.device != device:
                parameter = nn.Parameter(there(parameter), parameter.requires_grad)
                each._parameters[name] = parameter
        for name, buffer in each.named_buffers(recurse=False):
            if buffer.device != device:
                each._buffers[name] = there(buffer)
    return module


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    setattr(tensor, PINNED, True)
    return tensor


def _zeros(tensor: torch.Tensor) -> np.ndarray:
    if tensor.device.type != "cpu":
        raise TypeError("a tensor on a GPU has no array; copy it to the CPU first")
    return np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))
