"""What each variant saves in multiply-accumulates beside what it saves in time."""

import math

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import COLOURS, GREY, PAGE_WIDTH_INCH, SMALL_PT, grid_of_panels

MACS, TIME = COLOURS[5], COLOURS[0]
BAR = 0.36
ROW_INCH = 0.27
WORST_PERCENT = -100.0  # where bars are cut, so that one row does not flatten the others


def savings_figure(savings: pd.DataFrame, how: str) -> Figure:
    """Two bars a variant, in order from the top, groups apart; `how` its time was measured.

    savings: by variant its group, and in percent of the parent's cost macs_percent, time_percent
    and the latter's quartiles, negative where it costs more; NaN where it was not measured.
    """
    rows = _positions(savings["group"])
    height_inch = ROW_INCH * (rows[-1] + 1) + 0.95
    longest = max(map(len, savings.index))
    left = min(0.1 + 0.065 * longest, 2.5) / PAGE_WIDTH_INCH
    figure, ((axes,),) = grid_of_panels(
        (1, 1), height_inch, bottom_inch=0.45, top_inch=0.4, left=left, right=0.97
    )
    for saving, y in zip(savings.itertuples(), rows, strict=True):
        quartiles = (saving.time_percent_q25, saving.time_percent_q75)
        _draw_bar(axes, y - BAR / 2, saving.macs_percent, None, MACS)
        _draw_bar(axes, y + BAR / 2, saving.time_percent, quartiles, TIME)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(rows, savings.index)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows[-1] + 0.6, rows[0] - 0.6)
    axes.set_xlim(*_limits(savings))
    axes.grid(True, axis="x")
    axes.set_xlabel(f"Saved, % of the parent's (time: {how}, with quartiles)")
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=MACS, label="multiply-accumulates"),
        plt.Rectangle((0, 0), 1, 1, color=TIME, label="time of one pass"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=2, bbox_to_anchor=(0.57, 1.0))
    return figure


def _draw_bar(axes, y: float, percent: float, quartiles, colour: str) -> None:
    style = {"va": "center", "fontsize": SMALL_PT - 1, "color": GREY}
    if math.isnan(percent):
        axes.text(1, y, "not measured", **style)
        return
    shown = max(percent, WORST_PERCENT)
    axes.barh(y, shown, height=BAR, color=colour, linewidth=0)
    if shown != percent:
        style["color"] = "white" if colour == TIME else "black"
        axes.text(WORST_PERCENT + 1, y, f"{percent:.0f}%", **style)
    elif quartiles:
        low, high = (max(each, WORST_PERCENT) for each in quartiles)
        axes.plot([low, high], [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
        axes.plot([low, high], [y, y], "|", color="black", markersize=3, markeredgewidth=0.8)


def _positions(groups: pd.Series) -> list[float]:
    """Of the rows, from the top, a row being 1 high; half a row separates groups."""
    is_new = groups != groups.shift(fill_value=groups.iloc[0])
    return (np.arange(len(groups)) + 0.5 * is_new.cumsum()).tolist()


def _limits(savings: pd.DataFrame) -> tuple[float, float]:
    """Of the horizontal axis, zero in it."""
    ends = np.append(savings.drop(columns="group").to_numpy(float), (-10.0, 10.0))
    low, high = np.nanmin(ends), np.nanmax(ends)
    return max(low - 3, WORST_PERCENT), min(high + 3, 100)
