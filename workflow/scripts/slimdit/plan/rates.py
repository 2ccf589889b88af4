"""Seconds that a machine takes for a unit of work, measured here or recorded on another one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from snakemake.utils import available_cpu_count
from tqdm import tqdm

from slimdit.compute.environment import settle
from slimdit.core.canonical import fingerprint
from slimdit.core.errors import InputError
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

    def seconds_of(self, study: Study, units: dict[str, float]) -> float:
        """Of so many of each unit, without what could not be measured.

        Raises InputError for a rate that is not here, or of another model than the study's.
        """
        total_s = 0.0
        for unit, count in units.items():
            name = rate_name(study, unit)
            if name not in self.seconds:
                raise InputError(
                    f"The measurements have no {name}, which the study needs; measure anew, "
                    "without --measurements."
                )
            if not isinstance(self.seconds[name], str):
                total_s += count * self.seconds[name]
        return total_s


def rate_name(study: Study, unit: str) -> str:
    """The unit, "decode" or "train S2-base"; with a fingerprint of what the variant's model is."""
    variant = unit.partition(" ")[2]
    if not variant:
        return unit
    built = [study.structure(variant), study.operations(variant), study.teacher(variant)]
    return f"{unit} {fingerprint(built)[:DIGITS]}"


def measured(study: Study, units: Iterable[str]) -> Rates:
    """Time each of these units, as a job does it that has the machine to itself."""
    settle()

    import torch

    from slimdit.compute.devices import device
    from slimdit.jobs.provenance import origin
    from slimdit.plan.timers import TIMERS

    made_by = origin()
    seconds: dict[str, float | str] = {}
    torch.set_num_threads(available_cpu_count())
    for unit in tqdm(units, "measure", disable=None):  # on a terminal
        what, *variant = unit.split(" ", 1)
        try:
            found = TIMERS[what](study, device(), *variant)
        except (InputError, ImportError, OSError, torch.OutOfMemoryError) as error:
            found = " ".join(str(error).split()).rstrip(".")
        seconds[rate_name(study, unit)] = found
    return Rates(made_by, seconds)


def recorded(path: str) -> Rates:
    """The rates that `--save` wrote; raises InputError for anything else."""
    try:
        rates = Rates(**read_json(path))
        times_s = [each for each in rates.seconds.values() if not isinstance(each, str)]
        is_named = {"device", "processor", "commit"} <= rates.origin.keys()
        if is_named and all(0 <= each < math.inf for each in times_s):
            return rates
    except (TypeError, AttributeError):
        pass
    raise InputError(f"{path} does not hold measurements of a plan, as --save writes them.")
