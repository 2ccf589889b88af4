"""Each figure of a study, from its results, loss curves and prompt images."""

import numpy as np

from slimdit.core.errors import InputError
from slimdit.reporting.figures.differences import differences_figure
from slimdit.reporting.figures.expert_load import ExpertLoad, expert_load_figure
from slimdit.reporting.figures.losses import losses_figure, mean_curve
from slimdit.reporting.figures.pareto import Point, pareto_figure
from slimdit.reporting.figures.samples import samples_figure
from slimdit.reporting.figures.savings import Saving, savings_figure
from slimdit.reporting.figures.style import message
from slimdit.reporting.results import (
    OVER_BASE,
    PEAK_MEMORY_KINDS,
    Row,
    Study,
    read_losses,
)
from slimdit.storage.files import load_npz, read_json


def read_prompts(rows: list[Row], paths: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Images (P, H, W, 3) uint8 of each variant, and the names of the P prompts."""
    if len(paths) != len(rows):
        raise InputError(
            f"prompts has {len(paths)} files for {len(rows)} rows; there should be one per row."
        )
    files = [load_npz(path) for path in paths]
    names = files[0]["names"].tolist()
    for path, file in zip(paths, files, strict=True):
        if file["names"].tolist() != names:
            raise InputError(f"{path} shows other prompts than {paths[0]}; sample both again.")
    images = {row.variant: file["arr_0"] for row, file in zip(rows, files, strict=True)}
    return images, names


def draw_samples(rows, images, names):
    return samples_figure([(row.group, row.label, images[row.variant]) for row in rows], names)


def draw_differences(rows, images, names):
    labels = {row.variant: row.label for row in rows}
    children = {row.derived_from: [] for row in rows if row.derived_from}
    for row in rows:
        if row.derived_from:
            children[row.derived_from].append((row.label, images[row.variant]))
    if not children:
        return message("No variant of this study is made from another's weights.")
    pairs = [(labels[parent], images[parent], made) for parent, made in children.items()]
    return differences_figure(pairs, names)


def draw_losses(study: Study, training, losses):
    """Base rows, which have no parent, are compared with the first of them."""
    if len(training) != len(losses):
        raise InputError(
            f"losses has {len(losses)} files for {len(training)} of training; "
            "there should be one losses.csv per training.json."
        )
    if not training:
        return message("No variant of this study was trained.")
    runs = {}
    for report, path in zip(training, losses, strict=True):
        runs.setdefault(read_json(report)["variant"], []).append(read_losses(path))
    trained = [row for row in study.rows if row.variant in runs]
    first = trained[0].variant
    return losses_figure(
        [
            mean_curve(row.variant, row.label, row.group, row.parent or first, runs[row.variant])
            for row in trained
        ]
    )


def draw_pareto(study: Study):
    mode = study.fully_timed_mode
    kinds = {result.values["peak_memory_kind"] for result in study.results.values()} - {None}
    kind = ", ".join(sorted(PEAK_MEMORY_KINDS.get(each, each) for each in kinds))
    batch = f"batch size {study.speed_batch_size}"
    most_macs = max((result.values["macs"] or 0 for result in study.results.values()), default=0)
    macs = ("GMACs", 1e9) if most_macs >= 1e8 else ("MMACs", 1e6)
    memory = f"Peak memory, eager, {batch} (MB{'; ' + kind if kind else ''})"
    costs = {
        f"Latency of one pass, {mode}, {batch} (ms)": ("latency_ms_" + mode, 1),
        f"{macs[0]} of one pass of one image": ("macs", macs[1]),
        memory: ("peak_memory_bytes", 1e6),
    }
    fd = study.extractor.fd_column
    planes = []
    for label, (column, unit) in costs.items():
        points = []
        for result in study.results.values():
            cost = result.values[column]
            points.append(
                Point(
                    result.row.label,
                    result.row.group,
                    None if cost is None else cost / unit,
                    result.values[fd],
                    result.stds.get(fd),
                )
            )
        planes.append((label, points))
    return pareto_figure(planes, study.extractor.fd_label)


def draw_savings(study: Study):
    """In the mode in which most rows were timed; compiled where both were."""
    compared = [result for result in study.results.values() if result.row.parent]
    if not compared:
        return message("No variant of this study has a parent.")

    def num_timed(mode):
        return sum(each.values[f"{OVER_BASE}_{mode}"] is not None for each in compared)

    mode = max(("compiled", "eager"), key=num_timed)
    savings = []
    for result in compared:
        change = study.change_percent(result.row.variant, "macs")
        ratio, q25, q75 = (
            result.values[f"{OVER_BASE}_{mode}{part}"] for part in ("", "_q25", "_q75")
        )
        savings.append(
            Saving(
                result.row.label,
                result.row.group,
                macs_percent=None if change is None else -change,
                time_percent=None if ratio is None else 100 * (1 - ratio),
                # The faster the pass, the more is saved.
                quartiles_percent=None if ratio is None else (100 * (1 - q75), 100 * (1 - q25)),
            )
        )
    return savings_figure(savings, f"{mode}, batch size {study.speed_batch_size}")


def draw_expert_load(study: Study):
    loads = []
    for row in study.rows:
        runs = [run["expert_load"] for run in study.training if run["variant"] == row.variant]
        if runs and all(runs):
            load = np.stack([np.array(run["load"], dtype=float) for run in runs])
            loads.append(ExpertLoad(row.label, np.array(runs[0]["steps"]), load))
    if not loads:
        return message("No variant of this study has a mixture of experts.")
    return expert_load_figure(loads)
