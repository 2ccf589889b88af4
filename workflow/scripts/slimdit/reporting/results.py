"""What was measured of each variant, from a study's JSON files, as a table of one row a variant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slimdit.core.errors import InputError
from slimdit.evaluation.metric_names import METRICS, MetricNames
from slimdit.reporting.columns import (
    CHANGE,
    DIFFERENCE,
    DIFFUSION_LOSS,
    MODES,
    OVER_BASE,
    OVER_SEEDS,
    Column,
    table_columns,
)
from slimdit.storage.files import read_json

COSTS = ("total_params", "active_params", "macs", "weight_bytes")
SPEEDS = ("latency_ms", "latency_ms_q25", "latency_ms_q75", "iterations_per_s", "images_per_s")
SPEEDS += ("fraction_of_peak", "bound")
PEAK_MEMORY_KINDS = {
    "cuda_max_memory_allocated": "torch.cuda.max_memory_allocated",
    "cpu_peak_rss_growth": "growth of peak resident memory on the CPU",
}

Values = dict[str, dict[str, float | str | bool | None]]  # of each variant, by column


@dataclass(frozen=True)
class Row:
    """One row of the tables.

    `parent` is the variant against which changes are given, `derived_from` the trained variant
    whose weights this one is made of; both are None where there is no such variant.
    """

    variant: str
    group: str
    parent: str | None = None
    derived_from: str | None = None


@dataclass
class StudyResults:
    """A study's results, and the contents of the files that they are made of.

    table: one row a variant, by its name, in table order; its columns are group, parent,
    num_seeds, those of `columns` (means over seeds; NaN: not measured), of some
    ..._std_over_seeds and ..._change_percent (inf: the parent's value is zero), and
    diffusion_loss.
    """

    rows: list[Row]
    table: pd.DataFrame
    columns: list[Column]
    names: MetricNames
    speed_batch_size: int
    speed: list[dict]
    quality: list[dict]
    training: list[dict]


def read_rows(rows: list[dict]) -> list[Row]:
    """Of the rows param, which `Study.rows` gives: the fields of each Row, in table order."""
    return [Row(**row) for row in rows]


def read_study(
    rows: list[Row],
    architecture: list[str],
    speed: list[str],
    quality: list[str],
    training: list[str],
    speed_batch_size: int,
    difference: Sequence[str] = (),
    samples: Sequence[str] = (),
) -> StudyResults:
    """Read every JSON file of a study; all but `rows` and the batch size are lists of paths.

    Raises InputError for a file of another variant, two of one run, and quality files that cannot
    be compared.
    """
    costs, speeds, qualities, trainings, differences, sampled = (
        read_files(paths, rows)
        for paths in (architecture, speed, quality, training, difference, samples)
    )
    names, num_samples = metric_names(qualities)
    columns = table_columns(names, num_samples)
    values: Values = {
        row.variant: {"group": row.group, "parent": row.parent, "num_seeds": 0} for row in rows
    }
    for read in (
        {cost["variant"]: {key: cost.get(key) for key in COSTS} for cost in costs},
        {each["variant"]: _speed_values(each["measurements"], speed_batch_size) for each in speeds},
        _quality_values(qualities, names),
        _difference_values(differences),
        _sampler_values(sampled),
        _loss_values(trainings),
    ):
        for variant, found in read.items():
            values[variant] |= {name: value for name, value in found.items() if value is not None}
    wanted = ["group", "parent", "num_seeds", *(column.name for column in columns)]
    wanted += [f"{names.column(metric)}{OVER_SEEDS}" for metric in METRICS]
    wanted.append(DIFFUSION_LOSS.name)
    table = pd.DataFrame(list(values.values()), pd.Index(values), wanted)
    table["speed_batch_size"] = speed_batch_size
    for column in columns:
        if column.changes:
            table[f"{column.name}{CHANGE}"] = _change_percent(table[column.name], table["parent"])
    return StudyResults(rows, table, columns, names, speed_batch_size, speeds, qualities, trainings)


def read_files(paths: Sequence[str], rows: list[Row]) -> list[dict]:
    """The JSON files' contents in the order of the rows, then of the seeds."""
    order = {row.variant: place for place, row in enumerate(rows)}
    found = {}
    for path in paths:
        content = read_json(path)
        variant, seed = content.get("variant"), content.get("seed", 0)
        if variant not in order:
            raise InputError(
                f"{path} is of the variant {variant}, which is not a row; "
                f"it should be one of {', '.join(order)}."
            )
        if (order[variant], seed) in found:
            raise InputError(
                f"{path} is the second file of {variant} with seed {seed}; there should be one."
            )
        found[order[variant], seed] = content
    return [found[place] for place in sorted(found)]


def metric_names(quality: list[dict]) -> tuple[MetricNames, int]:
    """Of the one extractor of all quality files, with their number of samples (0: no file).

    Raises InputError where they cannot be compared; only the Inception graph's may be called FID.
    """
    if not quality:
        return MetricNames(), 0
    extractors = {MetricNames.of(run["extractor"]) for run in quality}
    if len(extractors) > 1:
        raise InputError(
            "the quality.json files come from several extractors "
            f"({', '.join(sorted(each.fd_column for each in extractors))}); a table needs one."
        )
    (names,) = extractors
    if not names.is_fid and any("fid" in name.lower() for name in vars(names).values()):
        raise InputError(
            f"the extractor {quality[0]['extractor'].get('name')} names a distance FID; only the "
            "Inception graph, whose fd_column is fid, may."
        )
    for count in ("num_samples", "num_reference"):
        counts = {run[count] for run in quality}
        if len(counts) > 1:
            raise InputError(
                f"the quality.json files have {count} {sorted(counts)}; distances can be compared "
                "only when all have the same."
            )
    return names, quality[0]["num_samples"]


def over_seeds(runs: list[dict], keys: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean and sample standard deviation of each variant's runs, which have one row a variant.

    NaN where a run has no value, as is the standard deviation of one run.
    """
    frame = pd.DataFrame(runs, columns=["variant", *keys]).set_index("variant").astype(float)
    by_variant = frame.groupby(level=0, sort=False)
    return by_variant.mean(skipna=False), by_variant.std(skipna=False)


def _change_percent(values: pd.Series, parents: pd.Series) -> pd.Series:
    before = parents.map(values.astype(float))
    return (100 * (values - before) / before).mask(before == 0, np.inf)


def _speed_values(measurements: list[dict], batch_size: int) -> dict:
    """Energy is that of the largest batch size, the only one at which it is measured."""
    modes = {each["mode"]: each for each in measurements if each["batch_size"] == batch_size}
    values = {}
    for mode in MODES:
        measured = modes.get(mode, {})
        values |= {f"{key}_{mode}": measured.get(key) for key in SPEEDS}
        ratio, q25, q75 = (measured.get(f"{OVER_BASE}{part}") for part in ("", "_q25", "_q75"))
        name = f"{OVER_BASE}_{mode}"
        if ratio is not None:  # three quarters of the rounds lie on one side of 1
            values[f"{name}_significant"] = q25 > 1 or q75 < 1
        values |= {name: ratio, f"{name}_q25": q25, f"{name}_q75": q75}
        energies = (each.get("energy_j_per_image") for each in measurements if each["mode"] == mode)
        known = (energy for energy in energies if energy is not None)
        values[f"energy_j_per_image_{mode}"] = next(known, None)
    eager = modes.get("eager", {})
    return values | {key: eager.get(key) for key in ("peak_memory_bytes", "peak_memory_kind")}


def _quality_values(quality: list[dict], names: MetricNames) -> Values:
    runs = [{"variant": run["variant"], **run["metrics"]} for run in quality]
    metrics = {metric: column for column, metric in names.quality_columns.items()}
    mean, std = over_seeds(runs, list(metrics))
    mean, std = mean.rename(columns=metrics), std[list(METRICS)].rename(columns=metrics)
    table = mean.join(std.add_suffix(OVER_SEEDS))
    table["num_seeds"] = pd.Series([run["variant"] for run in quality]).value_counts()
    return table.to_dict("index")


def _difference_values(differences: list[dict]) -> Values:
    """Means over seeds; significant where each seed's interval leaves out 0, on the same side."""
    parts = {"difference": DIFFERENCE, "low": f"{DIFFERENCE}_low", "high": f"{DIFFERENCE}_high"}
    table = over_seeds(differences, list(parts))[0].rename(columns=parts)
    by_variant = pd.DataFrame(differences, columns=["variant", "paired", *parts]).groupby("variant")
    table[f"{DIFFERENCE}_significant"] = (by_variant["low"].min() > 0) | (
        by_variant["high"].max() < 0
    )
    table[f"{DIFFERENCE}_paired"] = by_variant["paired"].all()
    return table.to_dict("index")


def _sampler_values(samples: list[dict]) -> Values:
    mean, _ = over_seeds(samples, ["images_per_s"])
    return mean.add_prefix("sampler_").to_dict("index")


def _loss_values(training: list[dict]) -> Values:
    mean, _ = over_seeds(training, ["final_mse", "final_vb"])
    return mean.sum(axis=1, skipna=False).to_frame(DIFFUSION_LOSS.name).to_dict("index")
