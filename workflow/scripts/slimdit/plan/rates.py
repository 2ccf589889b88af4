"""How fast a machine does what a plan counts, measured here or as another one recorded it."""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from slimdit.core.canonical import canonical
from slimdit.core.errors import InputError
from slimdit.storage.files import read_json, write_json
from slimdit.study.study import Study

BUSY = 0.5  # load of a core from which on times are too long
OF_ORIGIN = ("device", "processor", "commit", "load_average", "cores")


@dataclass(frozen=True)
class Rate:
    """Seconds of one unit of work, and of what a job does once.

    unit_s: None where it could not be measured, as `note` says. note: what else is to be known.
    """

    unit_s: float | None
    once_s: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Rates:
    """Rates by what was timed, "decode" or "train S2-base", on the machine and commit of `origin`.

    models: what was built for each variant. recorded_in: the file that has them.
    """

    origin: dict
    models: dict[str, list]
    rates: dict[str, Rate]
    recorded_in: str | Path | None = None

    @property
    def is_of_gpu(self) -> bool:
        return self.origin["device"] != "cpu"

    @property
    def machine(self) -> str:
        return self.origin["device"] if self.is_of_gpu else self.origin["processor"] or "a CPU"

    @property
    def was_busy(self) -> bool:
        """Whether other work may have slowed this down."""
        return self.origin["load_average"] > BUSY * self.origin["cores"]

    def of(self, study: Study, name: str) -> Rate:
        """Raises InputError for a rate that is not here, or of another model than the study's."""
        _, _, variant = name.partition(" ")
        is_known = not variant or self.models.get(variant) == model_of(study, variant)
        if name not in self.rates or not is_known:
            raise InputError(
                f"{self.recorded_in} has no {name} as the study needs it; "
                "measure anew, without --measurements."
            )
        return self.rates[name]

    def save(self, path: str | Path) -> None:
        rates = {name: asdict(rate) for name, rate in self.rates.items()}
        write_json(path, {"origin": self.origin, "models": self.models, "rates": rates})


def model_of(study: Study, variant: str) -> list:
    """What a variant's model is built from."""
    return canonical([study.structure(variant), study.operations(variant), study.teacher(variant)])


def measured(study: Study, threads: dict[str, int]) -> Rates:
    """Time each of these, given with the threads of a job that it is for."""
    from slimdit.compute.devices import device
    from slimdit.jobs.progress import Progress
    from slimdit.jobs.provenance import origin

    on, rates = device(), {}
    load = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    with Progress(len(threads), "measure", "rate") as progress:
        for name in threads:
            rates[name] = _measured(study, name, threads[name], on)
            progress.update(1, last=name)
    models = {variant: model_of(study, variant) for variant in study.variants}
    return Rates(origin(**load), models, rates)


def _measured(study: Study, name: str, threads: int, on) -> Rate:
    """What the timer says, or why it cannot."""
    import torch
    from threadpoolctl import threadpool_limits

    from slimdit.compute.out_of_memory import is_out_of_memory
    from slimdit.plan.timers import TIMERS

    what, *variant = name.split(" ", 1)
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            return TIMERS[what](study, on, *variant)
    except Exception as error:
        if is_out_of_memory(error):
            error = InputError("it does not fit in memory")
        if not isinstance(error, InputError | ImportError | OSError):
            raise
        return Rate(None, note=" ".join(str(error).split()).rstrip("."))


def recorded(path: str | Path) -> Rates:
    """What `Rates.save` wrote; raises InputError for anything else."""
    content = read_json(path)
    try:
        rates = {name: Rate(**rate) for name, rate in content["rates"].items()}
        for name, rate in rates.items():
            if not 0 <= (rate.unit_s or 0) + rate.once_s < math.inf:
                raise ValueError(f"{name} takes {rate.unit_s} s")
        origin = {key: content["origin"][key] for key in OF_ORIGIN}
        return Rates(origin, dict(content["models"]), rates, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} does not hold measurements of a plan ({error!r}); it should be a file that "
            "--save wrote."
        ) from None
