"""A check, its result, and the process of a part's checks."""

import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
import torch._dynamo  # before the processes of the parts, which all need it

from slimdit.compute.devices import device
from slimdit.jobs.messages import hide_meaningless
from slimdit.profiling import latency

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NO_TIME = "no time left"


class Check(NamedTuple):
    """measure() gives numbers, each with its unit in its name; those in `at_most` have bounds."""

    name: str
    measure: Callable[[], dict]
    at_most: Mapping[str, float]


class SkippedError(Exception):
    """Why a check cannot be made here."""


def send_results(part: str, is_tiny: bool, deadline_s: float, sender: Connection) -> None:
    """Make the part's checks, one after the other, and send the name and the result of each; None
    at the end. What would end after the deadline, if it took as long as the longest so far, is
    skipped."""
    from gpu_checks import PARTS
    from gpu_checks.bench import Bench

    hide_meaningless()
    prepare_compiler(is_tiny)
    longest_s = 0.0
    for check in PARTS[part].checks(Bench(is_tiny, device())):
        started_s = time.monotonic()
        is_late = started_s + longest_s > deadline_s
        result = {"skipped": NO_TIME} if is_late else made(check)
        longest_s = max(longest_s, time.monotonic() - started_s)
        sender.send((check.name, result))
    sender.send(None)


def prepare_compiler(is_tiny: bool) -> None:
    """torch.compile with those of its arguments that this PyTorch knows, and without autotuning,
    which takes minutes a model; tiny: it leaves everything as it is."""
    torch_compile = torch.compile
    known = inspect.signature(torch_compile).parameters

    @wraps(torch_compile)
    def compile_here(*arguments, **options):
        options = {name: value for name, value in options.items() if name in known}
        return torch_compile(*arguments, **options, disable=is_tiny)

    torch.compile = compile_here
    latency.AUTOTUNED = latency.DEFAULT


def made(check: Check) -> dict:
    """What came out of it: "measured" and whether the bounds hold as "passed", or why not."""
    started_s = time.monotonic()
    torch.compiler.reset()
    try:
        measured = check.measure()
    except SkippedError as reason:
        return {"skipped": str(reason)}
    except Exception as error:  # of any kind: the other checks are made all the same
        where = traceback.extract_tb(error.__traceback__)[-4:]
        said = f"{type(error).__name__}: {str(error)[:500]}"
        return {"failed": said, "at": [f"{frame.filename}:{frame.lineno}" for frame in where]}
    return {
        # Not a number is no number at most as large as its bound.
        "passed": all(measured[name] <= bound for name, bound in check.at_most.items()),
        "measured": {name: jsonable(value) for name, value in measured.items()},
        "at_most": dict(check.at_most),
        "wall_s": round(time.monotonic() - started_s, 2),
    }


def jsonable(value):
    """JSON has no infinity and no NaN."""
    is_odd = isinstance(value, float) and not abs(value) < float("inf")
    return str(value) if is_odd else value


def outcome(result: dict) -> str:
    if "skipped" in result:
        return SKIPPED
    return PASSED if result.get("passed") else FAILED


def line(name: str, result: dict) -> str:
    """On the terminal."""
    what = outcome(result)
    told = result.get(what) if "measured" not in result else ""
    numbers = [
        f"{key} {shown(value)}" + (f" (<= {bound:g})" if bound is not None else "")
        for key, value in result.get("measured", {}).items()
        for bound in [result["at_most"].get(key)]
    ]
    return f"{name:32}{what:9}{told or ', '.join(numbers)}"


def shown(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
