"""A rule's function in several processes of this machine, one a device, as torchrun starts them."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from slimdit.compute.allocator import keep_freed_memory
from slimdit.compute.process_group import Processes, process_group
from slimdit.core.errors import InputError
from slimdit.jobs.failures import explain
from slimdit.jobs.job import thread_limits
from slimdit.jobs.job_log import log_to
from slimdit.jobs.messages import hide_meaningless
from slimdit.storage.files import read_json

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
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    log.info("on %d devices", len(devices))
    threads = int(os.environ.get("OMP_NUM_THREADS", 1)) // len(devices)
    os.environ.update(thread_limits(max(1, threads)))
    for name in SILENT:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as reports:
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
            logs_specs=DefaultLogsSpecs(reports),
        )
        try:
            elastic_launch(config, _run)(function, arguments, log_path, reports)
        except (ChildFailedError, SignalException):
            raise _first_error(reports, function.__name__) from None


def _run(function: Callable, arguments: dict, log_path: str, reports: str) -> None:
    """What each of the processes does."""
    _die_with_parent()
    keep_freed_memory()
    hide_meaningless()
    try:
        with process_group():
            is_first = Processes().is_first
            if not is_first:  # one progress bar is enough
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            log_to(log_path, logging.INFO if is_first else logging.ERROR)
            function(**arguments)
    except BaseException as error:
        _report(error, reports)
        os._exit(1)  # an orderly end would wait for the others


def _report(error: BaseException, reports: str) -> None:
    """Leave `error` where torchrun looks for it, unless another process ended before this one and
    so is the reason for it."""
    from torch.distributed.elastic.multiprocessing.errors import ErrorHandler

    if not _error_files(reports):
        sentence = explain(error)
        ErrorHandler().record_exception(InputError(sentence) if sentence else error)


def _first_error(reports: str, name: str) -> BaseException:
    """What the processes left of the error that ended them, as one of this process."""
    files = _error_files(reports)
    if not files:
        return SystemExit(f"{name}: its processes were killed.")
    message = read_json(files[0])["message"]
    kind, _, words = message["message"].partition(": ")
    kinds = {each.__name__: each for each in (InputError, SystemExit, KeyboardInterrupt)}
    if kind in kinds:
        return kinds[kind](words)
    return RuntimeError(message["extraInfo"]["py_callstack"])


def _error_files(reports: str) -> list[Path]:
    return list(Path(reports).rglob("error.json"))


def _die_with_parent() -> None:
    """Kill this process when the one that started it ends, however that ends (on Linux).

    What is left of a job would go on beside the next one's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if not multiprocessing.parent_process().is_alive():
        os._exit(1)
