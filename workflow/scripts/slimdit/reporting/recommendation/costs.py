"""What each row costs, in the measure that is asked for; less is better."""

from dataclasses import dataclass

import pandas as pd

from slimdit.core.errors import InputError
from slimdit.profiling.modes import COMPILED, DECODER, EAGER, SAMPLER
from slimdit.reporting.columns import INTERVAL, MEGABYTES, number
from slimdit.reporting.results import StudyResults

LATENCY, THROUGHPUT, MEMORY, ENERGY, SIZE = "latency", "throughput", "memory", "energy", "size"
BY = (LATENCY, THROUGHPUT, MEMORY, ENERGY, SIZE)
ENDS = ("cost", "cost_low", "cost_high")
SAMPLED = "of the whole sampling of latents, guidance included"
UNDECODED = f"{SAMPLED}, decoding by the autoencoder not"


@dataclass(frozen=True)
class Cost:
    """A measure of all rows of a study.

    values: by variant `cost`, and the ends of its 95 % interval (the cost itself where it has
    none, NaN where it was not measured). heading: what it is, with its unit. saved: what a row that
    costs less saves. measured: of what it was measured. rate: the number that divided by a cost
    gives what is printed (None: the cost is).
    """

    values: pd.DataFrame
    heading: str
    saved: str
    measured: str
    rate: float | None = None

    def shown(self, cost: float) -> float:
        return self.rate / cost if self.rate else cost


def cost_of(study: StudyResults, by: str) -> Cost:
    """One of BY, at the batch size of the study's results.

    Times are those of the whole sampling where they were measured, else of the passes of an image,
    each at the time of one alone; without a clock they are multiply-accumulates. Raises InputError
    where the study has no such measure.
    """
    table, batch = study.table, study.speed_batch_size
    if by in (LATENCY, THROUGHPUT):
        return _time(study, by)
    if by == SIZE:
        (unit,) = MEGABYTES
        values = _without_interval(table["weight_bytes"] / unit[1])
        found = Cost(values, "Size (MB)", "size", "of the stored weights")
    elif by == MEMORY:
        (unit,) = MEGABYTES
        values = _without_interval(table["peak_memory_bytes"] / unit[1])
        measured = f"of a pass, eager, at batch size {batch}"
        if study.peak_memory_kinds:
            measured += f" ({'; '.join(study.peak_memory_kinds)})"
        found = Cost(values, "Peak memory (MB)", "memory", measured)
    else:
        values = _without_interval(table[f"energy_j_per_image_{SAMPLER}"])
        found = Cost(values, "Energy of an image (J)", "energy", UNDECODED)
    if values["cost"].isna().all():
        raise InputError(
            f"{by} was not measured in this study at batch size {batch}; choose another of "
            f"{', '.join(BY)}, or another batch size."
        )
    return found


def check_batch_size(study: StudyResults, batch_size: int) -> None:
    """Raises InputError for a batch size at which nothing was timed."""
    each = (one["batch_size"] for file in study.speed for one in file["measurements"])
    if batch_size not in (known := sorted(set(each))):
        raise InputError(
            f"batch size {batch_size} was not measured in this study, but "
            f"{', '.join(map(str, known)) or 'none'}; ask for one of these, or add it to "
            "speed.eager_batch_sizes in the config."
        )


def _time(study: StudyResults, by: str) -> Cost:
    table, batch = study.table, study.speed_batch_size
    words = {"heading": f"Time of a batch of {batch} (ms)", "saved": "time"}
    if by == THROUGHPUT:
        words |= {"heading": "Images/s", "rate": 1e3 * batch}
    for mode in (SAMPLER, COMPILED, EAGER):
        times = table[[f"latency_ms_{mode}{part}" for part in INTERVAL]].astype(float)
        if times.isna().all(axis=None):
            continue
        if mode == SAMPLER:
            times, measured = _decoded(times, table)
        else:
            times = times.mul(table["macs_per_image"] / table["macs"], axis=0)
            measured = f"of as many passes as an image takes, {mode}, each at the time of one alone"
            measured += ", decoding not"
        return Cost(_with_interval(times), measured=f"{measured}, at batch size {batch}", **words)
    column = next(column for column in study.columns if column.name == "macs_per_image")
    name, size = column.unit(table[column.name].max())
    values = _without_interval(table[column.name] / size)
    measured = "of all passes of an image, counted: no time was measured"
    return Cost(values, f"{name} an image", "arithmetic", measured)


def _decoded(times: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """With the time of decoding: of the rows that decode alike, in one precision, the median."""
    alike = table[f"latency_ms_{DECODER}"].astype(float).groupby(table[DECODER], sort=False)
    if not (medians_ms := alike.median().dropna()).size:
        return times, UNDECODED
    each = [f"{number(ms)} ms ({decoder})" for decoder, ms in medians_ms.items()]
    for place, decoder in enumerate(medians_ms.index[1:], start=1):
        each[place] += f" for {', '.join(table.index[table[DECODER] == decoder])}"
    measured = f"{SAMPLED}, and of decoding, which takes {' and '.join(each)}"
    return times.add(alike.transform("median"), axis=0), measured


def _with_interval(values: pd.DataFrame) -> pd.DataFrame:
    """The row that times are relative to has no interval of its own."""
    cost, low, high = values.to_numpy().T
    found = pd.DataFrame({"cost": cost, "cost_low": low, "cost_high": high}, values.index)
    return found.apply(lambda end: end.fillna(found["cost"]))


def _without_interval(cost: pd.Series) -> pd.DataFrame:
    return pd.concat([cost.astype(float)] * len(ENDS), axis=1, keys=ENDS)


def with_ends(cost: Cost, of: pd.Series) -> str:
    """A row's cost and its interval: 3.21 [3.10, 3.33]."""
    middle, *ends = (cost.shown(of[name]) for name in ENDS)
    text = number(middle)
    if ends[0] == ends[1]:
        return text
    low, high = (number(end, like=middle) for end in sorted(ends))
    return f"{text} [{low}, {high}]"
