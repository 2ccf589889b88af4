"""The processes of one training: each has a GPU and an equal part of every batch."""

import contextlib
from collections.abc import Iterator

import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slimdit.compute.devices import device
from slimdit.core.errors import InputError


class Processes:
    """Those of the `process_group`; outside of one, this process alone."""

    def __init__(self):
        together = torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if together else 0
        self.size = torch.distributed.get_world_size() if together else 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes what all have made."""
        return self.rank == 0

    def rows(self, batch_size: int) -> range:
        """Those of a batch that this process takes.

        Raises InputError when the batch cannot be shared equally.
        """
        if batch_size % self.size:
            raise InputError(
                f"training.batch_size {batch_size} cannot be shared equally by {self.size} GPUs; "
                "make it a multiple of that number."
            )
        count = batch_size // self.size
        return range(self.rank * count, (self.rank + 1) * count)

    def replicated(self, model: nn.Module) -> nn.Module:
        """`model` with gradients that are means over the processes."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model, forward_sync_buffers=False)

    def without_exchange(self, model, condition: bool):
        """While `condition`, gradients of the `replicated` model stay in their process."""
        return model.no_sync() if condition and self.size > 1 else contextlib.nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in each of them."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether it is raised in any process: what all do together, all must agree on."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(int(flag))))  # on the CPU: no wait for the GPU

    def wait(self) -> None:
        """Until all have come so far."""
        self.any(False)

    def same(self, value):
        """The first process's value, in each of them."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values)
        return values[0]


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Bring together the processes that torchrun has started; after an error they stay as they
    are, since an orderly end would wait for all."""
    on = device()
    if on.type == "cuda":
        torch.cuda.set_device(on)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on.type == "cuda" else "gloo")
    yield
    torch.distributed.destroy_process_group()
