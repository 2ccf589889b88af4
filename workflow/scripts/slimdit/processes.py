"""The processes of one training: each has a GPU and an equal share of every batch."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from slimdit.errors import InputError
from slimdit.files import write_json

PORT = 29500  # where processes on several nodes meet


class Processes:
    """Those that `joined` has brought together; without it, this one alone."""

    def __init__(self):
        import torch.distributed

        together = torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if together else 0
        self.size = torch.distributed.get_world_size() if together else 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes what all have made."""
        return self.rank == 0

    def parts(self, batch_size: int, micro_batch_size: int | None) -> list[slice]:
        """The rows of a batch that this process takes, one part after the other.

        Every process has as many parts, each at most `micro_batch_size` long. Raises InputError
        when the batch cannot be shared equally.
        """
        if batch_size % self.size:
            raise InputError(
                f"training.batch_size {batch_size} cannot be shared equally by {self.size} GPUs; "
                "make it a multiple of that number."
            )
        share = batch_size // self.size
        count = -(-share // (micro_batch_size or share))
        ends = [self.rank * share + share * part // count for part in range(count + 1)]
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def replicated(self, model):
        """`model` with gradients that are means over the processes."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, forward_sync_buffers=False)

    def without_exchange(self, model, condition: bool):
        """While `condition`, gradients of the `replicated` model stay in their process."""
        return model.no_sync() if condition and self.size > 1 else contextlib.nullcontext()

    def sum(self, tensor):
        """The sum over the processes, in each of them."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether it is raised in any process: what all do together, all must agree on."""
        if self.size == 1:
            return flag
        import torch

        return bool(self.sum(torch.tensor(int(flag))))  # on the CPU: no wait for the GPU

    def wait(self) -> None:
        """Until all have come so far."""
        self.any(False)

    def same(self, value):
        """The first process's value, in each of them."""
        if self.size == 1:
            return value
        import torch.distributed

        values = [value]
        torch.distributed.broadcast_object_list(values)
        return values[0]


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Bring together the processes that torchrun has started."""
    import torch.distributed

    from slimdit.devices import device

    on = device()
    if on.type == "cuda":
        torch.cuda.set_device(on)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def launch(script: str, arguments: dict, folder: str | Path, log: str, devices: int) -> None:
    """Run the rule's script in one process a device, by torchrun, on every node of a SLURM job.

    folder: where `arguments` are left for them. SIGTERM is passed on: they save before they end.
    Raises SystemExit when they fail; why is in the log.
    """
    path = Path(folder) / "arguments.json"
    write_json(path, {"script": script, "arguments": arguments, "log": log})
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", 1))
    command = [*torchrun(devices, nodes), "-m", "slimdit.worker", str(path)]
    threads = int(os.environ.get("OMP_NUM_THREADS", 1)) // devices
    environment = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        "OMP_NUM_THREADS": str(max(1, threads)),
    }
    process = subprocess.Popen(command, env=os.environ | environment)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        status = process.wait()
    finally:
        process.terminate()
        process.wait()
        signal.signal(signal.SIGTERM, previous)
    if status:
        raise SystemExit(f"{script}: the processes on {devices} devices ended; {log} says why.")


def torchrun(devices: int, nodes: int) -> list[str]:
    """The command that starts `devices` processes on each node of a SLURM job of `nodes`."""
    command = [sys.executable, "-m", "slimdit.agent", f"--nproc-per-node={devices}"]
    if nodes == 1:
        return [*command, "--standalone"]
    on_each = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    meeting = [
        f"--nnodes={nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={socket.gethostname()}:{PORT}",
        f"--rdzv-id={os.environ['SLURM_JOB_ID']}",
    ]
    return on_each + command + meeting
