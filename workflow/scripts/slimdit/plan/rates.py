"""Seconds that a machine takes for a unit of work, measured here or recorded on another one."""

import math
from dataclasses import dataclass

from slimdit.core.canonical import fingerprint
from slimdit.core.errors import InputError
from slimdit.plan.work import JobWork
from slimdit.storage.files import read_json
from slimdit.study.study import Study

DIGITS = 8  # of what a model is built from


@dataclass(frozen=True)
class Rates:
    """seconds: of each unit, by `rate_name`, or a sentence that says why it was not measured.

    origin: the machine and the commit. The fields are the keys of the file that `--save` writes.
    """

    origin: dict
    seconds: dict[str, float | str]

    def seconds_of(self, study: Study, work: JobWork) -> float:
        """Without what could not be measured; raises InputError for a rate that is not here, or of
        another model than the study's."""
        total_s = work.fixed_s
        for unit, count in work.units.items():
            name = rate_name(study, unit)
            if name not in self.seconds:
                raise InputError(
                    f"The measurements have no {name}, which the study needs; measure anew, "
                    "without --measurements."
                )
            rate = self.seconds[name]
            total_s += 0.0 if isinstance(rate, str) else count * rate
        return total_s


def rate_name(study: Study, unit: str) -> str:
    """The unit, "decode" or "train S2-base"; with a fingerprint of what the variant's model is."""
    variant = unit.partition(" ")[2]
    if not variant:
        return unit
    built = [study.structure(variant), study.operations(variant), study.teacher(variant)]
    return f"{unit} {fingerprint(built)[:DIGITS]}"


def measured(study: Study, threads: dict[str, int]) -> Rates:
    """Time each of these units, given with the threads of a job that does it."""
    import torch
    from threadpoolctl import threadpool_limits

    from slimdit.compute.devices import device
    from slimdit.compute.out_of_memory import is_out_of_memory
    from slimdit.jobs.progress import Progress
    from slimdit.jobs.provenance import origin
    from slimdit.plan.timers import TIMERS

    seconds: dict[str, float | str] = {}
    with Progress(len(threads), "measure", "rate") as progress:
        for unit, count in threads.items():
            what, *variant = unit.split(" ", 1)
            torch.set_num_threads(count)
            try:
                with threadpool_limits(count):
                    found = TIMERS[what](study, device(), *variant)
            except Exception as error:
                if is_out_of_memory(error):
                    found = "it does not fit in memory"
                elif isinstance(error, InputError | ImportError | OSError):
                    found = " ".join(str(error).split()).rstrip(".")
                else:
                    raise
            seconds[rate_name(study, unit)] = found
            progress.update(1, last=unit)
    return Rates(origin(), seconds)


def recorded(path: str) -> Rates:
    """The rates that `--save` wrote; raises InputError for anything else."""
    try:
        rates = Rates(**read_json(path))
        is_whole = {"device", "processor", "commit"} <= rates.origin.keys()
        numbers = [each for each in rates.seconds.values() if not isinstance(each, str)]
        is_whole &= all(0 <= each < math.inf for each in numbers)
    except (TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{path} does not hold measurements of a plan, as --save writes them.")
    return rates
