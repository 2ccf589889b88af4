"""How fast this machine does what a plan counts, measured or as another machine recorded it."""

import math
import os
from dataclasses import asdict
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.plan.clock import Timed
from slimdit.plan.work import Timing
from slimdit.storage.files import read_json, write_json

ANEW = "measure anew, without --measurements"
ROUNDS = 3  # of timing again what is much slower than its like
BUSY = 0.5  # load of a core from which on times are too long
NUMBER = int | float
OF_ORIGIN = {
    "device": str,
    "processor": str | None,
    "commit": str | None,
    "load_average": NUMBER,
    "cores": int,
}
OF_TIMING = {"what": str, "of": dict}
OF_TIMED = {
    "wall_s": NUMBER | None,
    "once_s": NUMBER,
    "batch_size": int | None,
    "measured_batch_size": int | None,
    "note": str | None,
}


class Speeds:
    """What timers measured on the machine and commit of `origin`.

    timed: by the key of a `Timing`, it and what was measured. recorded_in: the file of these.
    """

    def __init__(self, origin: dict, timed: dict, recorded_in: str | Path | None = None):
        self.origin, self.timed, self.recorded_in = origin, timed, recorded_in

    @property
    def is_of_gpu(self) -> bool:
        return self.origin["device"] != "cpu"

    @property
    def machine(self) -> str:
        origin = self.origin
        return origin["device"] if self.is_of_gpu else origin["processor"] or "a CPU"

    @property
    def was_busy(self) -> bool:
        """Whether other work may have slowed this down."""
        return self.origin["load_average"] > BUSY * self.origin["cores"]

    def check(self, timings: dict[str, tuple[Timing, str]]) -> None:
        """Raise InputError unless all of these, each with the job that it is for, are here."""
        for key, (timing, job) in timings.items():
            if key not in self.timed:
                raise InputError(
                    f"{self.recorded_in} has no {timing.what} as {job} needs it; {ANEW}."
                )

    def save(self, path: str | Path) -> None:
        write_json(
            path,
            {
                "origin": self.origin,
                "timed": [
                    {"what": timing.what, "of": timing.of, **asdict(timed)}
                    for timing, timed in self.timed.values()
                ],
            },
        )

    def of(self, timing: Timing):
        return self.timed[timing.key][1]


def measured(timings: dict[str, tuple[Timing, int]]) -> Speeds:
    """Time each of these, given with the threads of the job that it is for."""
    from slimdit.compute.devices import device
    from slimdit.jobs.progress import Progress
    from slimdit.jobs.provenance import origin
    from slimdit.plan.outliers import outliers

    on, timed = device(), {}
    load = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    with Progress(len(timings), "measure", "speed") as progress:
        for key, (timing, threads) in timings.items():
            timed[key] = timing, _measured(timing, threads, on)
            progress.update(1, last=timing.what)
    for _ in range(ROUNDS):
        for key in outliers(timed):
            timing, before = timed[key]
            again = _measured(*timings[key], on)
            if again.wall_s is not None and again.wall_s < before.wall_s:
                timed[key] = timing, again
    return Speeds(origin(**load), timed)


def _measured(timing: Timing, threads: int, on) -> Timed:
    """What the timer says, or why it cannot."""
    import torch
    from threadpoolctl import threadpool_limits

    from slimdit.compute.out_of_memory import is_out_of_memory
    from slimdit.plan.timers import TIMERS

    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            return TIMERS[timing.what](timing.of, on)
    except Exception as error:
        if is_out_of_memory(error):
            error = InputError("it does not fit in memory")
        if not isinstance(error, InputError | ImportError):
            raise
        return Timed(None, note=str(error).rstrip("."))


def recorded(path: str | Path) -> Speeds:
    """What `Speeds.save` wrote; raises InputError for anything else."""
    content = read_json(path)
    try:
        origin = _checked(content["origin"], OF_ORIGIN)
        timed = {}
        for entry in content["timed"]:
            of = _checked(entry, OF_TIMING)
            timing = Timing(of["what"], of["of"], 0)
            timed[timing.key] = timing, Timed(**_checked(entry, OF_TIMED))
    except KeyError as error:
        problem = f"the key {error} is missing"
    except (TypeError, ValueError) as error:
        problem = str(error)
    else:
        return Speeds(origin, timed, path)
    raise InputError(
        f"{path} does not hold measurements of a plan ({problem}); it should be a file that "
        "--save wrote."
    )


def _checked(content: dict, kinds: dict) -> dict:
    """The values of these keys; raises KeyError, TypeError or ValueError where one is missing or
    of another kind, or a number is no amount."""
    values = {key: content[key] for key in kinds}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, kinds[key]):
            raise TypeError(f"{key} is {value!r}")
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ValueError(f"{key} is {value}")
    return values
