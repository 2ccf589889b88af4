"""How fast this machine does what a plan counts, measured or as another machine recorded it."""

import os
from dataclasses import asdict, fields
from pathlib import Path

from slimdit.errors import InputError
from slimdit.files import read_json, write_json
from slimdit.planned_work import Timing

ANEW = "measure anew, without --measurements"
BUSY = 0.5  # load of a core from which on times are too long
OF_ORIGIN = ("device", "processor", "commit", "load_average", "cores")


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
    import torch
    from threadpoolctl import threadpool_limits

    from slimdit.devices import device
    from slimdit.memory import is_out_of_memory
    from slimdit.planned_timers import TIMERS, Timed
    from slimdit.progress import Progress
    from slimdit.provenance import origin

    on, timed = device(), {}
    load = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    with Progress(len(timings), "measure", "speed") as progress:
        for key, (timing, threads) in timings.items():
            torch.set_num_threads(threads)
            try:
                with threadpool_limits(threads):
                    found = TIMERS[timing.what](timing.of, on)
            except Exception as error:
                if is_out_of_memory(error):
                    error = InputError("it does not fit in memory")
                if not isinstance(error, InputError | ImportError):
                    raise
                found = Timed(None, note=str(error).rstrip("."))
            timed[key] = timing, found
            progress.update(1, last=timing.what)
    return Speeds(origin(**load), timed)


def recorded(path: str | Path) -> Speeds:
    """What `Speeds.save` wrote; raises InputError for anything else."""
    from slimdit.planned_timers import Timed

    content, names = read_json(path), [each.name for each in fields(Timed)]
    try:
        origin = {key: content["origin"][key] for key in OF_ORIGIN}
        timed = {}
        for entry in content["timed"]:
            timing = Timing(entry["what"], entry["of"], 0)
            timed[timing.key] = timing, Timed(**{name: entry[name] for name in names})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not hold measurements of a plan ({error!r}); it should be a file that "
            "--save wrote."
        ) from None
    return Speeds(origin, timed, path)
