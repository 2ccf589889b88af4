"""Each figure of a study, from its results, loss curves and prompt images."""

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from slimdit.reporting.columns import CHANGE, OVER_BASE, OVER_SEEDS
from slimdit.reporting.figures.differences import differences_figure
from slimdit.reporting.figures.expert_load import ExpertLoad, expert_load_figure
from slimdit.reporting.figures.losses import losses_figure, read_curve
from slimdit.reporting.figures.pareto import pareto_figure
from slimdit.reporting.figures.samples import samples_figure
from slimdit.reporting.figures.savings import savings_figure
from slimdit.reporting.figures.style import message
from slimdit.reporting.results import Row, StudyResults
from slimdit.storage.files import load_npz, read_json


def read_prompts(rows: list[Row], paths: list[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Images (P, H, W, 3) uint8 of each variant, and the names of the P prompts."""
    files = [load_npz(path) for path in paths]
    images = {row.variant: file["arr_0"] for row, file in zip(rows, files, strict=True)}
    return images, files[0]["names"].tolist()


def draw_samples(rows: list[Row], images: dict[str, np.ndarray], names: list[str]) -> Figure:
    return samples_figure([(row.group, row.variant, images[row.variant]) for row in rows], names)


def draw_differences(rows: list[Row], images: dict[str, np.ndarray], names: list[str]) -> Figure:
    children = {row.derived_from: [] for row in rows if row.derived_from}
    for row in rows:
        if row.derived_from:
            children[row.derived_from].append((row.variant, images[row.variant]))
    if not children:
        return message("No variant of this study is made from another's weights.")
    pairs = [(parent, images[parent], made) for parent, made in children.items()]
    return differences_figure(pairs, names)


def draw_losses(study: StudyResults, training: list[str], losses: list[str]) -> Figure:
    """Base rows, which have no parent, are compared with the first of them."""
    if not training:
        return message("No variant of this study was trained.")
    runs = defaultdict(list)
    for report, path in zip(training, losses, strict=True):
        runs[read_json(report)["variant"]].append(path)
    trained = [row for row in study.rows if row.variant in runs]
    return losses_figure(
        [
            read_curve(row.variant, row.group, row.parent or trained[0].variant, runs[row.variant])
            for row in trained
        ]
    )


def draw_pareto(study: StudyResults) -> Figure:
    """The latency is that of compiled models where every one was timed so."""
    table, fd = study.table, study.names.fd_column
    mode = "compiled" if table["latency_ms_compiled"].notna().all() else "eager"
    batch = f"batch size {study.speed_batch_size}"
    macs = next(column for column in study.columns if column.name == "macs")
    macs_unit, macs_size = macs.unit(table["macs"].max())
    costs = {
        f"Latency of one pass, {mode}, {batch} (ms)": table[f"latency_ms_{mode}"],
        f"{macs_unit} of one pass of one image": table["macs"] / macs_size,
        f"Peak memory, eager, {batch} ({'; '.join(['MB', *study.peak_memory_kinds])})": (
            table["peak_memory_bytes"] / 1e6
        ),
    }
    points = table[["group"]].assign(distance=table[fd], std=table[f"{fd}{OVER_SEEDS}"])
    planes = {label: points.assign(cost=cost) for label, cost in costs.items()}
    return pareto_figure(planes, study.names.fd_label)


def draw_savings(study: StudyResults) -> Figure:
    """In the mode in which most rows were timed; compiled where both were."""
    table = study.table[study.table["parent"].notna()]
    if table.empty:
        return message("No variant of this study has a parent.")
    mode = max(("compiled", "eager"), key=lambda mode: table[f"{OVER_BASE}_{mode}"].count())
    savings = table[["group"]].assign(
        macs_percent=-table[f"macs{CHANGE}"],
        time_percent=100 * (1 - table[f"{OVER_BASE}_{mode}"]),
        # The faster the pass, the more is saved.
        time_percent_q25=100 * (1 - table[f"{OVER_BASE}_{mode}_q75"]),
        time_percent_q75=100 * (1 - table[f"{OVER_BASE}_{mode}_q25"]),
    )
    return savings_figure(savings, f"{mode}, batch size {study.speed_batch_size}")


def draw_expert_load(study: StudyResults) -> Figure:
    loads = []
    for row in study.rows:
        runs = [run["expert_load"] for run in study.training if run["variant"] == row.variant]
        if runs and all(runs):
            load = np.stack([np.array(run["load"], dtype=float) for run in runs])
            loads.append(ExpertLoad(row.variant, np.array(runs[0]["steps"]), load))
    if not loads:
        return message("No variant of this study has a mixture of experts.")
    return expert_load_figure(loads)
