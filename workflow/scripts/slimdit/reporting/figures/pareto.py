"""Quality against cost: which variants are worth their time, operations or memory."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.reporting.figures.labels import place_labels
from slimdit.reporting.figures.style import (
    GREY,
    SMALL_PT,
    grid_of_panels,
    logarithmic,
    point_style,
)


def pareto_front(cost: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Indices of the points that no other beats in both, in order of cost."""
    front = []
    for index in np.lexsort((distance, cost)):
        if not front or distance[index] < distance[front[-1]]:
            front.append(index)
    return np.array(front, dtype=int)


def pareto_figure(planes: dict[str, pd.DataFrame], distance_label: str) -> Figure:
    """A panel for each label of a cost.

    planes: label -> points: by variant its group, cost, distance and the distance's std over seeds,
    cost and distance better when smaller and NaN where they were not measured.
    """
    groups = list(pd.concat(planes.values())["group"].unique())
    most = max(map(len, planes.values()))
    panel_inch = 2.4 if most <= 12 else min(2.4 + 0.06 * (most - 12), 3.4)
    legend_inch = 0.35
    height_inch = len(planes) * (panel_inch + 0.5) + legend_inch
    figure, panels = grid_of_panels(
        (len(planes), 1),
        height_inch,
        bottom_inch=0.45,
        top_inch=legend_inch,
        left=0.09,
        right=0.985,
        hspace=0.5 / panel_inch,
    )
    for axes, (cost_label, points) in zip(panels[:, 0], planes.items(), strict=True):
        axes.set_xlabel(cost_label)
        axes.set_ylabel(distance_label)
        _draw_plane(axes, points, groups)
    handles = [
        plt.Line2D([], [], linestyle="", label=group, **point_style(index))
        for index, group in enumerate(groups)
    ]
    handles.append(plt.Line2D([], [], color=GREY, linewidth=0.9, label="Pareto front"))
    figure.legend(
        handles=handles,
        loc="upper center",
        ncols=min(len(handles), 7),
        bbox_to_anchor=(0.5, 1.0),
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return figure


def _draw_plane(axes, points: pd.DataFrame, groups: list[str]) -> None:
    drawn = points.dropna(subset=["cost", "distance"])
    missing = points.index.difference(drawn.index, sort=False)
    if len(missing):
        axes.text(
            0.99,
            0.98,
            f"not measured: {', '.join(missing)}" if len(drawn) else "nothing was measured",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=SMALL_PT,
            color=GREY,
            wrap=True,
        )
    if drawn.empty:
        return
    cost, distance = drawn["cost"].to_numpy(float), drawn["distance"].to_numpy(float)
    for axis, values in ((axes.xaxis, cost), (axes.yaxis, distance)):
        _scale(axis, values)
    axes.grid(True)

    front = pareto_front(cost, distance)
    line = _staircase(cost[front], distance[front], axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot(*line.T, color=GREY, linewidth=0.9, zorder=1)
    for point in drawn.itertuples():
        axes.errorbar(
            point.cost,
            point.distance,
            yerr=point.std if pd.notna(point.std) else None,
            **point_style(groups.index(point.group)),
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            elinewidth=0.8,
            zorder=3,
        )
    colours = [point_style(groups.index(group))["color"] for group in drawn["group"]]
    place_labels(axes, cost, distance, list(drawn.index), colours, SMALL_PT, line)


def _staircase(cost: np.ndarray, distance: np.ndarray, right: float, top: float) -> np.ndarray:
    """Corners (2F + 1, 2) of the border of what F points of the front dominate."""
    return np.column_stack(
        [np.append(np.repeat(cost, 2), right), np.insert(np.repeat(distance, 2), 0, top)]
    )


def _scale(axis, values: np.ndarray) -> None:
    """Logarithmic where positive values spread widely; room for labels on both sides."""
    low, high = values.min(), values.max()
    if low > 0 and high > 2 * low:
        logarithmic(axis, low, high)
        room = (high / low) ** 0.12
        limits = (low / room, high * room)
    else:
        room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
        limits = (low - room, high + room)
    axis.axes.set(**{f"{axis.axis_name}lim": limits})
