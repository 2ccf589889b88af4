"""Where the host waits for the GPU: within a step it should not, lest the GPU has nothing to do."""

import contextlib
import sys
from collections.abc import Iterator
from unittest import mock

import torch
from subjects import ROOT
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SCRIPTS = ROOT / "workflow/scripts"
aten = torch.ops.aten
READS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
FUSED = (9, 10)  # major compute capabilities; for others torch reads where the groups end


class Waits(TorchDispatchMode):
    """Notes of steps: `found` has a line for every wait, `operators` the names of all that was
    computed. What is read from the GPU is `value`."""

    def __init__(self, value: float = 1):
        super().__init__()
        self.value, self.found, self.operators = value, [], set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within this context a step runs."""
        printed = mock.patch.object(FakeTensor, "__repr__", lambda _: self._add("prints a tensor"))
        synchronized = mock.patch.object(
            torch.cuda, "synchronize", lambda *_: self._add("synchronizes")
        )
        with printed, synchronized, self:
            yield

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.operators.add(function.overloadpacket.__name__)
        if what := wait(function, args, kwargs):
            self._add(what)
        if function is aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return {torch.bool: bool, torch.int64: int}.get(args[0].dtype, float)(self.value)
        return function(*args, **kwargs)

    def _add(self, what: str) -> str:
        frame = sys._getframe(1)
        while frame and not frame.f_code.co_filename.startswith(str(SCRIPTS)):
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "the backward pass"
        self.found.append(f"{what} at {place.removeprefix(f'{SCRIPTS}/')}")
        return what


def wait(function, args: tuple, kwargs: dict) -> str | None:
    """What the host waits for in this call of an operator, if it does."""
    if function is aten._to_copy.default:
        return _copy(args[0], kwargs.get("device"), kwargs.get("non_blocking"))
    if function is aten.copy_.default:
        return _copy(args[1], args[0].device, (*args, False)[2])
    if function.overloadpacket in INDEXED:
        return _index(args[0], args[1])
    if function is aten._grouped_mm.default:
        major, _ = torch.cuda.get_device_capability()
        return None if major in FUSED else "reads where groups end"
    if function.namespace != "slimdit" and not READS.intersection(function.tags):
        return None
    tensors = (each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
    if not any(each.is_cuda for each in tensors):
        return None
    return f"{'runs on' if function.namespace == 'slimdit' else 'gives'} the host {function}"


def _index(indexed: Tensor, indices: list[Tensor | None]) -> str | None:
    found = [index for index in indices if index is not None]
    if indexed.is_cuda and not all(index.is_cuda for index in found):
        return "copies an index"
    is_mask = any(index.dtype in (torch.bool, torch.uint8) for index in found)
    return "counts what a mask selects" if indexed.is_cuda and is_mask else None


def _copy(source: Tensor, device: torch.device | None, non_blocking: bool) -> str | None:
    """From one device to the other, unless it goes on by itself."""
    kinds = (source.device.type, device.type if device else source.device.type)
    if kinds == ("cuda", "cpu") and not non_blocking:
        return "copies to the CPU"
    if kinds == ("cpu", "cuda") and not (non_blocking and source.is_pinned()):
        return "copies from the CPU"
    return None
