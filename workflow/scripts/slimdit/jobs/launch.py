"""A rule's function in other processes of this machine: one a device, as torchrun starts them, or a
fresh one."""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from slimdit.compute.environment import thread_limit, thread_limits
from slimdit.core.errors import InputError
from slimdit.jobs.failures import explain
from slimdit.jobs.job_log import log_to
from slimdit.jobs.messages import hide_meaningless
from slimdit.jobs.provenance import surroundings

SHUTDOWN_S = 600  # a step and a save end within it; SLURM waits less, by its own clock
# The processes' own words say why they end.
SILENT = ("torch.distributed.elastic", "torch.multiprocessing.spawn")
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>

log = logging.getLogger(__name__)


def run_on(devices: list[str], function: Callable, arguments: dict, log_path: str) -> None:
    """function(**arguments), in one process for each device.

    Function and arguments are pickled. SIGTERM is passed on: the processes save before they end.
    What ends the first of them ends this one, in the same words.
    """
    if len(devices) < 2:
        function(**arguments)
        return
    if any(device.startswith("MIG") for device in devices):
        raise InputError(
            f"{' and '.join(devices)} are parts of GPUs, of which CUDA shows a process one; train "
            "on one part or on whole GPUs."
        )
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    log.info("on %d devices", len(devices))
    threads = (thread_limit() or 1) // len(devices)
    os.environ.update(thread_limits(max(1, threads)))
    for name in SILENT:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "error"
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=len(devices),
            max_restarts=0,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            shutdown_timeout=SHUTDOWN_S,
            logs_specs=DefaultLogsSpecs(folder),
        )
        try:
            elastic_launch(config, _run)(function, arguments, log_path, report)
        except (ChildFailedError, SignalException):
            if report.exists():
                raise pickle.loads(report.read_bytes()) from None
            raise SystemExit(f"{function.__name__}: its processes were killed.") from None


def in_own_process(function: Callable, *arguments):
    """function(*arguments) in a fresh process, which has this one's environment and devices and
    ends with it, however this one ends.

    Function, arguments and result are pickled; what the function raises is raised here.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin) as process:
        return process.submit(function, *arguments).result()


def _begin() -> None:
    """What each process does first."""
    if sys.platform == "linux":  # what is left of a job would go on beside the next one's
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    hide_meaningless()


def _run(function: Callable, arguments: dict, log_path: str, report: Path) -> None:
    """What each of a job's processes does."""
    from slimdit.compute.process_group import Processes, process_group

    _begin()
    try:
        with process_group():
            is_first = Processes().is_first
            if not is_first:  # one progress bar is enough
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            log_to(log_path, logging.INFO if is_first else logging.ERROR)
            surroundings()
            function(**arguments)
    except BaseException as error:
        # The others end because of the first one that does: its error alone is kept.
        with contextlib.suppress(FileExistsError), open(report, "xb") as file:
            pickle.dump(_to_be_told(error), file)
        os._exit(1)  # an orderly end would wait for the others


def _to_be_told(error: BaseException) -> BaseException:
    """An error that the process which started this one can raise in its place."""
    if not isinstance(error, Exception):
        return error
    sentence = explain(error)
    return InputError(sentence) if sentence else RuntimeError(traceback.format_exc())
