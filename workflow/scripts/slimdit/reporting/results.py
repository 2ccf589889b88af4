"""What was measured of each variant, from a study's JSON files."""

import statistics
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from slimdit.core.errors import InputError
from slimdit.storage.files import read_csv, read_json

MODES = ("eager", "compiled")
TIMES = ("latency_ms", "latency_ms_q25", "latency_ms_q75", "iterations_per_s", "images_per_s")
OVER_BASE = "latency_over_base"  # the parent's latency, measured in turns with this one's
OVER_BASE_PARTS = ("", "_q25", "_q75", "_significant")
UTILIZATION = ("share_of_peak", "bound")
COSTS = ("total_params", "active_params", "macs", "weight_bytes")
TERMS = ("loss", "mse", "vb", "distillation", "balance")
OVER_SETS = "_std_over_sets"
DISTANCE_PARTS = ("", "_float32_mean", "_corrected", "_standard_error", OVER_SETS)
# Metrics of quality.json, each with what else is known of it.
METRICS = {
    "fd": DISTANCE_PARTS,
    "sfd": DISTANCE_PARTS,
    "kid": ("", "_std"),
    "precision": ("",),
    "recall": ("",),
    "density": ("",),
    "coverage": ("",),
    "classifier_score": ("", "_std", "_corrected"),
    "class_accuracy": ("",),
    "nearest_train_distance_ratio": ("",),
    "share_closer_than_held_out": ("",),
}
DIFFERENCE = "fd_difference"  # of pooled features against the parent
DIFFERENCE_PARTS = ("", "_low", "_high", "_significant", "_paired")
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
    parent: str | None
    label: str
    derived_from: str | None = None


@dataclass(frozen=True)
class Extractor:
    """The column names and printed names of the metrics that are named by their extractor."""

    fd_column: str = "fd"
    sfd_column: str = "sfd"
    fd_label: str = "FD"
    sfd_label: str = "sFD"
    score_column: str = "classifier_score"
    score_label: str = "Classifier score"

    @property
    def quality_columns(self) -> dict[str, str]:
        """Columns of the tables to the names of their metrics in quality.json."""
        own = {"fd": self.fd_column, "sfd": self.sfd_column, "classifier_score": self.score_column}
        return {
            f"{column}{suffix}": f"{metric}{suffix}"
            for metric, suffixes in METRICS.items()
            for column in [own.get(metric, metric)]
            for suffix in suffixes
        }


@dataclass
class Result:
    """What was measured of one variant.

    `values` holds means over seeds (None: not measured), `stds` the standard deviation over seeds
    of each quality metric that was measured with at least two.
    """

    row: Row
    num_seeds: int = 0
    values: dict[str, float | str | None] = field(default_factory=dict)
    stds: dict[str, float] = field(default_factory=dict)


@dataclass
class Study:
    """The rows' results in table order, and the files' contents they were made of."""

    results: dict[str, Result]
    extractor: Extractor
    speed_batch_size: int
    speed: list[dict]
    quality: list[dict]
    training: list[dict]

    @property
    def rows(self) -> list[Row]:
        return [result.row for result in self.results.values()]

    @property
    def several_seeds(self) -> bool:
        return any(result.num_seeds > 1 for result in self.results.values())

    @property
    def fully_timed_mode(self) -> str:
        """`compiled` where every variant was timed so, else `eager`."""
        timed = [result.values["latency_ms_compiled"] for result in self.results.values()]
        return "eager" if None in timed else "compiled"

    def change_percent(self, variant: str, column: str) -> float | None:
        """Change of a variant's value against its parent's; None without a parent or a value."""
        parent = self.results[variant].row.parent
        if parent is None:
            return None
        before = self.results[parent].values.get(column)
        return change_percent(self.results[variant].values.get(column), before)


def change_percent(value: float | None, before: float | None) -> float | None:
    """None where a value is missing or the change has no meaning because `before` is zero."""
    if value is None or not before:
        return None
    return 100 * (value - before) / before


def mean_and_std(values: list[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; the mean of a list with a gap is None, as is the
    standard deviation of fewer than two values."""
    if not values or any(value is None for value in values):
        return None, None
    if len(values) == 1:
        return values[0], None
    return statistics.fmean(values), statistics.stdev(values)


def read_rows(rows: list[dict]) -> list[Row]:
    """The rows param: the fields of each Row, in table order."""
    parsed = [Row(**row) for row in rows]
    known = [row.variant for row in parsed]
    for row in parsed:
        if known.count(row.variant) > 1:
            raise InputError(f"rows names {row.variant} twice; each variant should have one row.")
        for other in (row.parent, row.derived_from):
            if other is not None and other not in known:
                raise InputError(
                    f"rows gives {row.variant} the parent {other}, which is not a row; "
                    f"the rows are {', '.join(known)}."
                )
    return parsed


def read_by_variant(paths: list[str], rows: list[Row]) -> dict[str, list[dict]]:
    """Read JSON files into lists per variant, in order of seed."""
    found: dict[str, list[dict]] = {row.variant: [] for row in rows}
    for path in paths:
        content = read_json(path)
        if content.get("variant") not in found:
            raise InputError(
                f"{path} is of the variant {content.get('variant')}, which is not a row; "
                f"it should be one of {', '.join(found)}."
            )
        runs = found[content["variant"]]
        if any(run.get("seed") == content.get("seed") for run in runs):
            raise InputError(
                f"{path} is the second file of {content['variant']} with seed "
                f"{content.get('seed')}; there should be one."
            )
        runs.append(content)
    return {
        variant: sorted(runs, key=lambda run: run.get("seed", 0)) for variant, runs in found.items()
    }


def extractor_of(quality: list[dict]) -> Extractor:
    """The one extractor of all quality files; only the Inception graph's may be called FID."""
    if not quality:
        return Extractor()
    names = [each.name for each in fields(Extractor)]
    extractors = {tuple(run["extractor"][name] for name in names) for run in quality}
    if len(extractors) > 1:
        raise InputError(
            "the quality.json files come from several extractors "
            f"({', '.join(sorted(each[0] for each in extractors))}); a table needs one."
        )
    extractor = Extractor(*extractors.pop())
    if extractor.fd_column != "fid" and any(
        "fid" in getattr(extractor, name).lower() for name in names
    ):
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
    return extractor


def read_study(
    rows: list[Row],
    architecture: list[str],
    speed: list[str],
    quality: list[str],
    training: list[str],
    speed_batch_size: int,
    difference: list[str] = (),
    samples: list[str] = (),
) -> Study:
    """Read every JSON file of a study; all but `rows` and the batch size are lists of paths."""
    architectures = read_by_variant(architecture, rows)
    speeds = read_by_variant(speed, rows)
    qualities = read_by_variant(quality, rows)
    trainings = read_by_variant(training, rows)
    differences = read_by_variant(difference, rows)
    sampled = read_by_variant(samples, rows)
    all_quality = [run for runs in qualities.values() for run in runs]
    extractor = extractor_of(all_quality)

    results = {}
    for row in rows:
        result = Result(row, num_seeds=len(qualities[row.variant]))
        cost = architectures[row.variant][0] if architectures[row.variant] else {}
        result.values.update({column: cost.get(column) for column in COSTS})
        timed = speeds[row.variant][0] if speeds[row.variant] else {"measurements": []}
        result.values.update(_speed_values(timed["measurements"], speed_batch_size))
        images_per_s = [run["images_per_s"] for run in sampled[row.variant]]
        result.values["sampler_images_per_s"] = mean_and_std(images_per_s)[0]
        _add_quality(result, qualities[row.variant], extractor)
        result.values.update(_difference_values(differences[row.variant]))
        result.values["diffusion_loss"] = _diffusion_loss(trainings[row.variant])
        results[row.variant] = result
    return Study(
        results,
        extractor,
        speed_batch_size,
        speed=[content for contents in speeds.values() for content in contents],
        quality=all_quality,
        training=[run for runs in trainings.values() for run in runs],
    )


def _speed_values(measurements: list[dict], batch_size: int) -> dict[str, float | str | None]:
    modes = {each["mode"]: each for each in measurements if each["batch_size"] == batch_size}
    values = {}
    for mode in MODES:
        measured = modes.get(mode, {})
        for column in (*TIMES, *UTILIZATION):
            values[f"{column}_{mode}"] = measured.get(column)
        for part, value in zip(OVER_BASE_PARTS, _over_base(measured), strict=True):
            values[f"{OVER_BASE}_{mode}{part}"] = value
        energies = [each.get("energy_j_per_image") for each in measurements if each["mode"] == mode]
        known = [energy for energy in energies if energy is not None]  # of the largest batch alone
        values[f"energy_j_per_image_{mode}"] = known[0] if known else None
    for column in ("peak_memory_bytes", "peak_memory_kind"):
        values[column] = modes.get("eager", {}).get(column)
    return values


def _over_base(measured: dict) -> tuple[float | str | None, ...]:
    """Ratio and quartiles; significant where three quarters of the rounds lie on one side of 1."""
    ratio, q25, q75 = (measured.get(f"{OVER_BASE}{part}") for part in OVER_BASE_PARTS[:3])
    if ratio is None:
        return None, None, None, None
    return ratio, q25, q75, "yes" if q25 > 1 or q75 < 1 else "no"


def _add_quality(result: Result, runs: list[dict], extractor: Extractor) -> None:
    for column, metric in extractor.quality_columns.items():
        mean, std = mean_and_std([run["metrics"].get(metric) for run in runs])
        result.values[column] = mean
        if std is not None and metric in METRICS:
            result.stds[column] = std


def _diffusion_loss(runs: list[dict]) -> float | None:
    """MSE + VB at the end of training, the terms that every variant's loss has; mean over seeds."""
    mse, vb = (
        mean_and_std([run.get(f"final_{term}") for run in runs])[0] for term in ("mse", "vb")
    )
    return None if mse is None or vb is None else mse + vb


def _difference_values(runs: list[dict]) -> dict[str, float | str | None]:
    """Means over seeds; significant where each seed's interval leaves out 0, on the same side."""
    if not runs:
        return {f"{DIFFERENCE}{part}": None for part in DIFFERENCE_PARTS}
    parts = {part: [run[part] for run in runs] for part in ("difference", "low", "high")}
    mean = {part: mean_and_std(values)[0] for part, values in parts.items()}
    one_side = min(parts["low"]) > 0 or max(parts["high"]) < 0
    values = (
        mean["difference"],
        mean["low"],
        mean["high"],
        "yes" if one_side else "no",
        "yes" if all(run["paired"] for run in runs) else "no",
    )
    return {f"{DIFFERENCE}{p}": value for p, value in zip(DIFFERENCE_PARTS, values, strict=True)}


def read_losses(path: str | Path) -> dict[str, np.ndarray]:
    """Columns of a losses.csv: step and each loss term, (S,) float64, NaN where a term is empty."""
    records = read_csv(path)
    if not records or "step" not in records[0] or "loss" not in records[0]:
        raise InputError(
            f"{path} has no losses; it should have the columns step,loss,... and rows."
        )
    return {
        column: np.array([float(record[column] or "nan") for record in records])
        for column in records[0]
    }
