"""A rule's script in several processes, one a device, under torchrun."""

import ctypes
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.jobs.job import thread_limits
from slimdit.storage.files import read_json, write_json

ARGUMENTS, LAST_WORDS = "arguments.json", "last_words.json"
PORTS = 20_000  # from this one on processes on several nodes meet, by their job's number
SHUTDOWN_S = 600  # a step and a save end within it; SLURM waits less, by its own clock
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>

log = logging.getLogger(__name__)


def run_on(devices: list[str], function: Callable, arguments: dict, log_path: str) -> None:
    """function(**arguments), in a process for each device of each node of a SLURM job.

    function: of the script that has its name, by which the processes find it. `arguments` are JSON;
    "state" is a folder that all nodes see. SIGTERM is passed on: the processes save before they
    end. What ends the first of them ends this one, in the same words.
    """
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", 1))
    if nodes * len(devices) < 2:
        function(**arguments)
        return
    folder = Path(arguments["state"]) / "processes"
    shutil.rmtree(folder, ignore_errors=True)
    task = {"script": function.__name__, "arguments": arguments, "log": log_path}
    write_json(folder / ARGUMENTS, task)
    log.info("on %d devices of each of %d nodes", len(devices), nodes)
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", 1)) // len(devices))
    command = [*torchrun(len(devices), nodes), "-m", "slimdit.jobs.worker", str(folder)]
    status = _wait_for(command, thread_limits(threads))
    words = read_json(folder / LAST_WORDS) if (folder / LAST_WORDS).exists() else None
    shutil.rmtree(folder)
    if words:
        raise {"InputError": InputError, "SystemExit": SystemExit}.get(words["kind"], RuntimeError)(
            words["words"]
        )
    if status:
        raise SystemExit(f"{function.__name__}: its processes were killed.")


def _wait_for(command: list[str], environment: dict[str, str]) -> int:
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    terminated, process = [], None

    def terminate(*_):
        terminated.append(True)
        if process:
            process.terminate()

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        process = subprocess.Popen(command, env=os.environ | environment)
        if terminated:
            process.terminate()
        return process.wait()
    finally:
        if process:
            process.terminate()
            process.wait()
        signal.signal(signal.SIGTERM, previous)


def torchrun(devices: int, nodes: int) -> list[str]:
    """The command that starts `devices` processes on each node of a SLURM job of `nodes`."""
    command = [
        *(sys.executable, "-m", "slimdit.jobs.torchrun", f"--nproc-per-node={devices}"),
        f"--shutdown-timeout={SHUTDOWN_S}",
    ]
    if nodes == 1:
        return [*command, "--standalone"]
    job = os.environ["SLURM_JOB_ID"]
    on_each = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    meeting = [
        f"--nnodes={nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={socket.gethostname()}:{PORTS + int(job) % PORTS}",
        f"--rdzv-id={job}",
    ]
    return on_each + command + meeting


def die_with_parent() -> None:
    """Kill this process when the one that started it ends, however that ends (on Linux).

    What is left of a job would go on beside the next one's.
    """
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
