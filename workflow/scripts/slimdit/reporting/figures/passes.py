"""Quality against passes through the model: which way of sampling the same weights is worth it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from slimdit.reporting.differences import part_name
from slimdit.reporting.figures.labels import place_labels
from slimdit.reporting.figures.style import GREY, group_styles, logarithmic, message, page
from slimdit.reporting.results import StudyResults

PANEL_INCH = 3.6


def draw_passes(study: StudyResults) -> Figure:
    """A panel for each row whose weights others sample too."""
    table, fd = study.table, study.names.fd_column
    low, high, difference = (part_name(fd, part) for part in ("low", "high", "difference"))
    points = table[["weights", "family"]].assign(
        passes=table["macs_per_image"] / table["macs"],
        distance=table[fd],
        below=table[difference] - table[low],
        above=table[high] - table[difference],
    )
    shared = points["weights"].map(points["weights"].value_counts()) > 1
    sampled = points.index.isin(points.index[shared]) & (points["distance"].notna())
    panels = dict(list(points[sampled].groupby("weights", sort=False)))
    if not panels:
        return message("No row of this study samples another's weights in its own way.")
    return passes_figure(panels, study.names.fd_label)


def passes_figure(panels: dict[str, pd.DataFrame], distance_label: str) -> Figure:
    """panels: by the row whose weights are sampled, by variant its passes an image, its distance,
    how far the interval of its distance reaches below and above (NaN: none), and its family, the
    curve that it is on, or None."""
    figure = page(len(panels) * PANEL_INCH)
    drawn = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axes, (weights, points) in zip(drawn, panels.items(), strict=True):
        axes.set_title(f"Weights of {weights}", loc="left")
        axes.set(xlabel="Full passes through the model, an image", ylabel=distance_label)
        for axis, values in ((axes.xaxis, points["passes"]), (axes.yaxis, points["distance"])):
            if values.max() > 2 * values.min() > 0:
                logarithmic(axis, values.min(), values.max())
        axes.margins(0.12)  # room for labels
        axes.grid(True)
        _draw(axes, points)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # The labels' places are found for these sizes of the panels.
    for axes, points in zip(drawn, panels.values(), strict=True):
        axes.autoscale(False)
        alone = points[points["family"].isna()]
        place = alone["passes"].to_numpy(float), alone["distance"].to_numpy(float)
        corners = points[["passes", "distance"]].to_numpy(float)
        place_labels(axes, *place, list(alone.index), [GREY] * len(alone), corners)
    return figure


def _draw(axes, points: pd.DataFrame) -> None:
    """Families as curves, in order of their passes; all others as points of one colour."""
    dots = {"markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.4}
    dots |= {"elinewidth": 0.8, "capsize": 1.5, "zorder": 3}
    alone = points["family"].isna()
    curves = points[~alone].sort_values("passes").groupby("family", sort=False)
    groups = {None: points[alone], **dict(list(curves))}
    for family, (colour, marker) in group_styles(groups).items():
        if (of := groups[family]).empty:
            continue
        reach = np.nan_to_num(of[["below", "above"]].to_numpy(float).T)
        style = {
            "color": GREY if family is None else colour,
            "marker": marker.matplotlib,
            "label": family,
        }
        line = "" if family is None else "-"
        axes.errorbar(of["passes"], of["distance"], reach, linestyle=line, **style, **dots)
    if len(curves):
        axes.legend(loc="upper right")
