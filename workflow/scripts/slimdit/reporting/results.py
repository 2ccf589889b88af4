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
FILES = ("architecture", "speed", "quality", "training", "difference", "samples")
PEAK_MEMORY_KINDS = {
    "cuda_max_memory_allocated": "torch.cuda.max_memory_allocated",
    "cpu_peak_rss_growth": "growth of peak resident memory on the CPU",
}


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

    @property
    def peak_memory_kinds(self) -> list[str]:
        """How the peak memory of the rows was measured, in words."""
        kinds = self.table["peak_memory_kind"].dropna().unique()
        return sorted(PEAK_MEMORY_KINDS.get(kind, kind) for kind in kinds)


def read_rows(rows: list[dict]) -> list[Row]:
    """Of the rows param, which `Study.rows` gives: the fields of each Row, in table order."""
    return [Row(**row) for row in rows]


def read_study(rows: list[Row], speed_batch_size: int, **paths: list[str]) -> StudyResults:
    """Read every JSON file of a study; `paths` has lists of them by FILES, none where it has none.

    Raises InputError for quality files that cannot be compared.
    """
    costs, speeds, qualities, trainings, differences, sampled = (
        read_files(paths.get(name, []), rows) for name in FILES
    )
    names, num_samples = metric_names(qualities)
    columns = table_columns(names, num_samples)
    values = {
        row.variant: {"group": row.group, "parent": row.parent, "num_seeds": 0} for row in rows
    }
    for record in (
        *costs,
        *(_speed_record(file, speed_batch_size) for file in speeds),
        *_quality_records(qualities, names),
        *_difference_records(differences),
        *_sampler_records(sampled),
        *_loss_records(trainings),
    ):
        values[record["variant"]] |= record
    wanted = ["group", "parent", "num_seeds", *(column.name for column in columns)]
    wanted += [f"{names.column(metric)}{OVER_SEEDS}" for metric in METRICS]
    wanted.append(DIFFUSION_LOSS.name)
    table = pd.DataFrame(list(values.values()), pd.Index(values), wanted)
    table = table.where(table.notna(), np.nan).assign(speed_batch_size=speed_batch_size)
    for column in columns:
        if column.changes:
            now = table[column.name].astype(float)
            before = table["parent"].map(now)
            change = (100 * (now - before) / before).mask(before == 0, np.inf)
            table[f"{column.name}{CHANGE}"] = change
    return StudyResults(rows, table, columns, names, speed_batch_size, speeds, qualities, trainings)


def read_files(paths: Sequence[str], rows: list[Row]) -> list[dict]:
    """The JSON files' contents in the order of the rows, then of the seeds."""
    order = [row.variant for row in rows]
    contents = map(read_json, paths)
    return sorted(contents, key=lambda each: (order.index(each["variant"]), each.get("seed", 0)))


def metric_names(quality: list[dict]) -> tuple[MetricNames, int]:
    """Of the one extractor of all quality files, with their number of samples (0: no file).

    Raises InputError where they differ in the extractor or in the numbers of images.
    """
    if not quality:
        return MetricNames(), 0
    runs = pd.DataFrame(quality)
    runs["extractor"] = [run["extractor"]["fd_column"] for run in quality]
    for key in ("extractor", "num_samples", "num_reference"):
        if runs[key].nunique() > 1:
            raise InputError(
                f"the quality.json files have several values of {key}, "
                f"{', '.join(map(str, runs[key].unique()))}; distances can be compared only when "
                "all have the same."
            )
    return MetricNames.of(quality[0]["extractor"]), quality[0]["num_samples"]


def over_seeds(runs: list[dict], keys: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean and sample standard deviation of each variant's runs, which have one row a variant.

    NaN where a run has no value, as is the standard deviation of one run.
    """
    frame = pd.DataFrame(runs, columns=["variant", *keys]).set_index("variant").astype(float)
    by_variant = frame.groupby(level=0, sort=False)
    return by_variant.mean(skipna=False), by_variant.std(skipna=False)


def _speed_record(file: dict, batch_size: int) -> dict:
    """Energy is that of the largest batch size, the only one at which it is measured."""
    record = {"variant": file["variant"]}
    for mode in MODES:
        of_mode = [each for each in file["measurements"] if each["mode"] == mode]
        measured = next((each for each in of_mode if each["batch_size"] == batch_size), {})
        record |= {f"{key}_{mode}": measured.get(key) for key in SPEEDS}
        name = f"{OVER_BASE}_{mode}"
        for part in ("", "_q25", "_q75"):
            record[f"{name}{part}"] = measured.get(f"{OVER_BASE}{part}")
        if record[name] is not None:  # three quarters of the rounds lie on one side of 1
            record[f"{name}_significant"] = record[f"{name}_q25"] > 1 or record[f"{name}_q75"] < 1
        energies = [each.get("energy_j_per_image") for each in of_mode]
        record[f"energy_j_per_image_{mode}"] = next((e for e in energies if e is not None), None)
        if mode == "eager":
            record |= {key: measured.get(key) for key in ("peak_memory_bytes", "peak_memory_kind")}
    return record


def _quality_records(quality: list[dict], names: MetricNames) -> list[dict]:
    runs = [{"variant": run["variant"], **run["metrics"]} for run in quality]
    metrics = {metric: column for column, metric in names.quality_columns.items()}
    mean, std = over_seeds(runs, list(metrics))
    spread = std[list(METRICS)].rename(columns=metrics).add_suffix(OVER_SEEDS)
    table = mean.rename(columns=metrics).join(spread)
    table["num_seeds"] = pd.Series([run["variant"] for run in quality]).value_counts()
    return _records(table)


def _difference_records(differences: list[dict]) -> list[dict]:
    """Means over seeds; significant where each seed's interval leaves out 0, on the same side."""
    parts = {"difference": DIFFERENCE, "low": f"{DIFFERENCE}_low", "high": f"{DIFFERENCE}_high"}
    table = over_seeds(differences, list(parts))[0].rename(columns=parts)
    by_variant = pd.DataFrame(differences, columns=["variant", "paired", *parts]).groupby("variant")
    is_apart = (by_variant["low"].min() > 0) | (by_variant["high"].max() < 0)
    table[f"{DIFFERENCE}_significant"] = is_apart
    table[f"{DIFFERENCE}_paired"] = by_variant["paired"].all()
    return _records(table)


def _sampler_records(samples: list[dict]) -> list[dict]:
    return _records(over_seeds(samples, ["images_per_s"])[0].add_prefix("sampler_"))


def _loss_records(training: list[dict]) -> list[dict]:
    mean, _ = over_seeds(training, ["final_mse", "final_vb"])
    return _records(mean.sum(axis=1, skipna=False).to_frame(DIFFUSION_LOSS.name))


def _records(table: pd.DataFrame) -> list[dict]:
    return table.reset_index().to_dict("records")
