"""What was measured of each variant, and of real images in place of samples, from a study's JSON
files, as a table."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.evaluation.metric_names import METRICS, MetricNames
from slimdit.profiling.modes import DECODER, EAGER, MODES, SAMPLER
from slimdit.reporting.columns import (
    BEST_SCALE,
    CHANGE,
    DIFFUSION_LOSS,
    INTERVAL,
    OVER_BASE,
    REFERENCE,
    STD_OVER_SEEDS,
    Column,
    table_columns,
)
from slimdit.reporting.differences import differences, part_name
from slimdit.reporting.latencies import LATENCY, latencies
from slimdit.storage.files import read_json

COSTS = ["total_params", "active_params", "macs", "weight_bytes"]
IMAGE_COSTS = [
    "passes_per_image",
    "cached_passes_per_image",
    "macs_per_image",
    "cache_bytes_per_image",
]
ROOFLINE = ["fraction_of_peak", "bound"]
PEAK_MEMORY = ["peak_memory_bytes", "peak_memory_kind"]
FILES = ("architecture", "speed", "quality", "training")
REFERENCE_FILE = "reference_quality"
PEAK_MEMORY_KINDS = {
    "cuda_max_memory_allocated": "torch.cuda.max_memory_allocated",
    "cpu_weights_and_allocated": "weights and what a pass allocates on the CPU",
}


@dataclass
class StudyResults:
    """A study's results, and the contents of the files that they are made of.

    rows: by their names sets of real images, then the variants, in table order; its columns are
    group, is_reference (of real images), parent (against which changes are given), derived_from
    (the variant whose weights this one is made of), trained_from (that whose weights its training
    began with), weights (the one whose weights it samples),
    family (the curve that it is a point of), config (what makes it another row, as the config has
    it), num_seeds, num_images, those of `columns` (means over
    seeds; NaN: not measured), of some ..._std_over_seeds and ..._change_percent (inf: the parent's
    value is zero), and diffusion_loss.
    """

    rows: pd.DataFrame
    columns: list[Column]
    names: MetricNames
    speed_batch_size: int
    speed: list[dict]
    quality: list[dict]
    training: list[dict]
    num_classes: int | None  # None: not known

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a variant."""
        return self.rows[~self.rows["is_reference"]]

    @property
    def peak_memory_kinds(self) -> list[str]:
        """How the peak memory of the rows was measured, in words."""
        kinds = self.table["peak_memory_kind"].dropna().unique()
        return sorted(PEAK_MEMORY_KINDS.get(kind, kind) for kind in kinds)


def read_study(rows: list[dict], speed_batch_size: int, **paths: list[str]) -> StudyResults:
    """Read every JSON file of a study; `paths` has lists of them by FILES and REFERENCE_FILE, none
    where it has none.

    rows: as `Study.rows` gives them. Raises InputError for quality files that cannot be compared.
    """
    reference = [row for path in paths.get(REFERENCE_FILE, []) for row in read_json(path)["rows"]]
    order = [row["variant"] for row in rows]
    costs, speeds, qualities, trainings = (
        _read_files(paths.get(name, []), order) for name in FILES
    )
    names, num_samples = metric_names(qualities)
    columns = table_columns(names, num_samples)
    metrics = names.quality_columns
    differing = {each.name: metrics[each.name] for each in columns if each.differs}
    losses = over_seeds(trainings, ["final_mse", "final_vb"])
    about = _about(rows, reference, num_samples)
    found = [
        about,
        pd.DataFrame(costs, columns=["variant", *COSTS, *IMAGE_COSTS]).set_index("variant"),
        *_speeds(speeds, about, speed_batch_size),
        measured := _qualities([*reference, *qualities], metrics),
        _at_best_scales(qualities, about, measured[names.fd_column], names.fd_column),
        pd.Series([run["variant"] for run in qualities]).value_counts().rename("num_seeds"),
        differences(qualities, about, differing),
        (losses["final_mse"] + losses["final_vb"]).rename(DIFFUSION_LOSS.name),
    ]
    wanted = [*about, "num_seeds", *(column.name for column in columns)]
    wanted += [f"{names.column(metric)}{STD_OVER_SEEDS}" for metric in METRICS]
    wanted.append(DIFFUSION_LOSS.name)
    table = pd.concat(found, axis=1).reindex(about.index, columns=wanted)
    table = table.astype(object).where(table.notna(), np.nan).infer_objects()
    table["num_seeds"] = table["num_seeds"].fillna(0).astype(int)
    table["speed_batch_size"] = np.where(table["is_reference"], np.nan, speed_batch_size)
    now = table[[column.name for column in columns if column.changes]].astype(float)
    before = now.reindex(table["parent"]).set_axis(table.index)
    changes = (100 * (now - before) / before).mask(before == 0, np.inf).add_suffix(CHANGE)
    table = pd.concat([table, changes], axis=1)
    num_classes = next((each["spec"]["structure"]["num_classes"] for each in costs), None)
    return StudyResults(
        table, columns, names, speed_batch_size, speeds, qualities, trainings, num_classes
    )


def _about(rows: list[dict], reference: list[dict], num_samples: int) -> pd.DataFrame:
    """What is known of each row before it is measured, those of real images first."""
    of_images = [
        {"variant": row["variant"], "group": REFERENCE, "num_images": row["num_samples"]}
        for row in reference
    ]
    about = pd.DataFrame([*of_images, *(row | {"num_images": num_samples} for row in rows)])
    about["is_reference"] = np.arange(len(about)) < len(of_images)
    return about.set_index("variant")


def _read_files(paths: Sequence[str], order: list[str]) -> list[dict]:
    """The JSON files' contents in the order of the variants, then of the seeds."""
    contents = map(read_json, paths)
    return sorted(contents, key=lambda each: (order.index(each["variant"]), each.get("seed", 0)))


def metric_names(quality: list[dict]) -> tuple[MetricNames, int]:
    """Of the one extractor of all quality files, with their number of samples (0: no file).

    Raises InputError where they differ in the extractor or in the numbers of images.
    """
    if not quality:
        return MetricNames(), 0
    runs = [run | {"extractor": run["extractor"]["fd_column"]} for run in quality]
    for key in ("extractor", "num_samples", "num_reference"):
        values = dict.fromkeys(str(run[key]) for run in runs)
        if len(values) > 1:
            raise InputError(
                f"the quality.json files have several values of {key}, {', '.join(values)}; "
                "distances can be compared only when all have the same."
            )
    return MetricNames.of(quality[0]["extractor"]), quality[0]["num_samples"]


def over_seeds(runs: list[dict], keys: Iterable[str]) -> pd.DataFrame:
    """Mean and sample standard deviation (<key>_std_over_seeds) of the runs of each variant, which
    is a row.

    NaN where a run has no value, as is the standard deviation of one run.
    """
    frame = pd.DataFrame(runs, columns=["variant", *keys]).set_index("variant").astype(float)
    by_variant = frame.groupby(level=0, sort=False)
    spread = by_variant.std(skipna=False).add_suffix(STD_OVER_SEEDS)
    return pd.concat([by_variant.mean(skipna=False), spread], axis=1)


def _speeds(files: list[dict], about: pd.DataFrame, batch_size: int) -> Iterator[pd.DataFrame]:
    """Of passes, those of the row whose weights a row samples. Energy of passes is that of the
    largest batch size, the only one at which it is measured."""
    ratios = [f"{OVER_BASE}{part}" for part in INTERVAL]
    keys = ["variant", "base", "mode", "batch_size", "dtype", "is_compiled", "energy_j_per_image"]
    keys += [*PEAK_MEMORY, *ROOFLINE]
    each = [
        {"variant": file["variant"], "base": file["base"], **one}
        for file in files
        for one in file["measurements"]
    ]
    timed = pd.DataFrame(each, columns=[*keys, LATENCY, *ratios]).set_index("variant")
    at_size = timed[timed["batch_size"] == batch_size]
    weights = about["weights"]

    def of_weights(passes: pd.DataFrame) -> pd.DataFrame:
        return passes.reindex(weights).set_axis(about.index)

    yield of_weights(at_size.loc[at_size["mode"] == EAGER, PEAK_MEMORY])
    yield _decoding(at_size, {file["variant"]: file["base"] for file in files}, batch_size)
    for mode in (*MODES, SAMPLER):
        energy = timed.loc[timed["mode"] == mode, ["energy_j_per_image"]]
        energy = energy.groupby("variant").first().add_suffix(f"_{mode}")
        of_mode = at_size[at_size["mode"] == mode]
        if mode != SAMPLER:  # a base that only samples otherwise has the passes of its weights
            of_mode = of_mode.assign(base=of_mode["base"].map(weights))
        time, over = f"{LATENCY}_{mode}", f"{OVER_BASE}_{mode}"
        times = latencies(of_mode).set_axis([f"{time}{part}" for part in INTERVAL], axis=1)
        times[f"iterations_per_s_{mode}"] = 1e3 / times[time]
        times[f"images_per_s_{mode}"] = 1e3 * batch_size / times[time]
        found = pd.concat([energy, of_mode[ROOFLINE].add_suffix(f"_{mode}"), times], axis=1)
        yield found if mode == SAMPLER else of_weights(found)
        to_parent = of_mode.loc[about["parent"].reindex(of_mode.index).notna(), ratios]
        to_parent = to_parent.astype(float).set_axis([f"{over}{part}" for part in INTERVAL], axis=1)
        if mode != SAMPLER:  # the same passes as the parent's
            is_same = (weights != about.index) & (
                weights == weights.reindex(about["parent"]).values
            )
            to_parent = to_parent.reindex(to_parent.index.union(about.index[is_same], sort=False))
            to_parent.loc[about.index[is_same], over] = 1.0
        low, high = (to_parent[f"{over}{end}"] for end in INTERVAL[1:])
        is_apart = ((low > 1) | (high < 1)).astype(object).where(low.notna())
        yield to_parent.assign(**{part_name(over, "significant"): is_apart})


def _decoding(timed: pd.DataFrame, bases: dict[str, str | None], batch_size: int) -> pd.DataFrame:
    """A row's decoder is compiled where its sampler is; one that was not timed is that of the row's
    base."""
    of_mode = dict(list(timed.groupby("mode")))
    decoded, sampled = (of_mode.get(mode, timed[:0]) for mode in (DECODER, SAMPLER))
    is_compiled = decoded.index.isin(sampled.index[sampled["is_compiled"].eq(True)])
    decoder = decoded["dtype"].astype(object)
    found = pd.DataFrame(
        {
            f"latency_ms_{DECODER}": decoded[LATENCY],
            f"images_per_s_{DECODER}": 1e3 * batch_size / decoded[LATENCY],
            DECODER: decoder.where(~is_compiled, decoder.map("{}, compiled".format)),
        }
    )

    def timed_row(row: str | None) -> str | None:
        return row if row is None or row in found.index else timed_row(bases.get(row))

    return found.reindex([timed_row(row) for row in bases]).set_axis(list(bases))


def _qualities(quality: list[dict], metrics: dict[str, str]) -> pd.DataFrame:
    runs = [{"variant": run["variant"], **run["metrics"]} for run in quality]
    spreads = [f"{column}{STD_OVER_SEEDS}" for column in metrics]
    return over_seeds(runs, metrics.values()).set_axis([*metrics, *spreads], axis=1)


def _at_best_scales(
    quality: list[dict], about: pd.DataFrame, distances: pd.Series, name: str
) -> pd.DataFrame:
    """Of each row that is sampled at several guidance scales, by rows of the same weights that
    differ in nothing else, the least distance (<name>_at_best_guidance_scale) and its scale."""
    runs = {run["variant"]: run["sampling"] for run in quality}
    frame = pd.DataFrame(
        {
            "weights": about["weights"].reindex(runs),
            "others": [canonical_json(how | {"guidance_scale": None}) for how in runs.values()],
            BEST_SCALE: [how["guidance_scale"] for how in runs.values()],
            f"{name}_at_{BEST_SCALE}": distances.reindex(runs),
        },
        index=list(runs),
    )
    alike = frame.groupby(["weights", "others"])[frame.columns[-1]]
    frame = frame[alike.transform("size") > 1]
    best = alike.idxmin().to_dict()
    chosen = [best[tuple(key)] for key in frame[["weights", "others"]].to_numpy()]
    return frame.loc[chosen, frame.columns[2:]].set_axis(frame.index)
