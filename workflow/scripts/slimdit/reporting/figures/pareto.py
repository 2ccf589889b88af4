"""Quality against cost of an image: which variants are worth their time, operations or memory."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slimdit.evaluation.reference_rows import HELD_OUT_RECONSTRUCTED
from slimdit.profiling.modes import SAMPLER
from slimdit.reporting.columns import INTERVAL, STD_OVER_SEEDS, number
from slimdit.reporting.figures.labels import place_labels
from slimdit.reporting.figures.style import GREY, SMALL_PT, group_styles, logarithmic, page
from slimdit.reporting.results import StudyResults

FAMILY_LINE = {"linewidth": 0.7, "alpha": 0.6, "zorder": 2}
MOST_NAMES = 40  # of points in one panel
FLOOR_LINE = {"color": GREY, "linestyle": ":", "linewidth": 0.9}


def draw_pareto(study: StudyResults) -> Figure:
    table, fd = study.table, study.names.fd_column
    batch = f"batch size {study.speed_batch_size}"
    macs = next(column for column in study.columns if column.name == "macs_per_image")
    macs_unit, macs_size = macs.unit(table[macs.name].max())
    ends = dict(zip(("cost", "cost_low", "cost_high"), INTERVAL, strict=True))
    costs = {
        f"Time of sampling, {batch} (ms an image)": {
            name: table[f"latency_ms_{SAMPLER}{end}"] / study.speed_batch_size
            for name, end in ends.items()
        },
        f"{macs_unit} of all passes of an image": {"cost": table[macs.name] / macs_size},
        f"Peak memory, eager, {batch} ({'; '.join(['MB', *study.peak_memory_kinds])})": {
            "cost": table["peak_memory_bytes"] / 1e6
        },
    }
    points = table[["group"]].assign(distance=table[fd], std=table[f"{fd}{STD_OVER_SEEDS}"])
    planes = {label: points.assign(**cost) for label, cost in costs.items()}
    floor = study.rows[fd].get(HELD_OUT_RECONSTRUCTED, np.nan)
    return pareto_figure(planes, study.names.fd_label, floor)


def pareto_figure(
    planes: dict[str, pd.DataFrame], distance_label: str, floor: float = np.nan
) -> Figure:
    """A panel for each label of a cost. `floor`: the distance of real images through the
    autoencoder, where it is known; a line where it is among the points, told in any case.

    planes: label -> points: by variant its group, cost, distance and the distance's std over seeds,
    cost and distance better when smaller and NaN where they were not measured; cost_low and
    cost_high, the ends of its interval, where it has one.
    """
    styles = {
        group: {"color": colour, "marker": marker.matplotlib}
        for group, (colour, marker) in group_styles(pd.concat(planes.values())["group"]).items()
    }
    panel_inch = np.clip(1.7 + 0.06 * max(map(len, planes.values())), 2.4, 3.4)
    figure = page(len(planes) * (panel_inch + 0.5) + 0.35)
    panels = figure.subplots(len(planes), squeeze=False)[:, 0]
    for axes, (cost_label, points) in zip(panels, planes.items(), strict=True):
        axes.set(xlabel=cost_label, ylabel=distance_label)
        _draw_points(axes, points, styles, floor)
    handles = [
        Line2D([], [], linestyle="", label=group, **style) for group, style in styles.items()
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=0.9, label="Pareto front"))
    if not np.isnan(floor):
        told = f"{HELD_OUT_RECONSTRUCTED}: {number(floor)}"
        handles.append(Line2D([], [], **FLOOR_LINE, label=told))
    spacing = {"handletextpad": 0.2, "columnspacing": 1.0}
    figure.legend(handles=handles, loc="outside upper center", ncols=4, **spacing)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # The labels' places are found for these sizes of the panels.
    for axes, points in zip(panels, planes.values(), strict=True):
        _draw_front(axes, points.dropna(subset=["cost", "distance"]), styles)
    return figure


def pareto_front(cost: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Indices of the points that no other beats in both, in order of cost."""
    front = []
    for index in np.lexsort((distance, cost)):
        if not front or distance[index] < distance[front[-1]]:
            front.append(index)
    return np.array(front, dtype=int)


def _draw_points(axes, points: pd.DataFrame, styles: dict[str, dict], floor: float) -> None:
    drawn = points.dropna(subset=["cost", "distance"])
    if missing := [variant for variant in points.index if variant not in drawn.index]:
        text = f"not measured: {', '.join(missing)}" if len(drawn) else "nothing was measured"
        axes.set_title(text, loc="right", fontsize=SMALL_PT, color=GREY, wrap=True)
    for axis, values in ((axes.xaxis, drawn["cost"]), (axes.yaxis, drawn["distance"])):
        if values.min() > 0 and values.max() > 2 * values.min():
            logarithmic(axis, values.min(), values.max())
    axes.margins(0.12)  # room for labels
    axes.grid(True)
    dots = {"linestyle": "", "markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.4}
    for group, of in drawn.groupby("group", sort=False):
        spread = of["std"].to_numpy(float)
        style = {**styles[group], **dots, "elinewidth": 0.8, "zorder": 3}
        ends = of.reindex(columns=["cost_low", "cost_high"]).sub(of["cost"], axis=0)
        axes.errorbar(of["cost"], of["distance"], spread, np.abs(ends.to_numpy(float)).T, **style)
    if not np.isnan(floor):
        lowest_and_highest = axes.get_ylim()
        axes.axhline(floor, **FLOOR_LINE, zorder=1)
        axes.set_ylim(lowest_and_highest)


def _draw_front(axes, drawn: pd.DataFrame, styles: dict[str, dict]) -> None:
    """The border of what the points of the front dominate, a line through the front of each group,
    and the points' labels; of very many those of the front and of the first."""
    if drawn.empty:
        return
    cost, distance = drawn["cost"].to_numpy(float), drawn["distance"].to_numpy(float)
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.autoscale(False)
    front = pareto_front(cost, distance)
    steps = np.repeat(cost[front], 2), np.repeat(distance[front], 2)
    line = np.column_stack([np.append(steps[0], right), np.insert(steps[1], 0, top)])
    axes.plot(*line.T, color=GREY, linewidth=0.9, zorder=1)
    for group, of in drawn.groupby("group", sort=False):
        own = of.iloc[pareto_front(of["cost"].to_numpy(float), of["distance"].to_numpy(float))]
        axes.plot(own["cost"], own["distance"], color=styles[group]["color"], **FAMILY_LINE)
    named = np.arange(len(drawn)) if len(drawn) <= MOST_NAMES else np.union1d(front, 0)
    colours = [styles[group]["color"] for group in drawn["group"].iloc[named]]
    place_labels(axes, cost[named], distance[named], list(drawn.index[named]), colours, line)
