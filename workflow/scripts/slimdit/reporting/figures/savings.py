"""What each variant saves of an image's multiply-accumulates beside what it saves of its time."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from slimdit.profiling.modes import SAMPLER
from slimdit.reporting.columns import CHANGE, OVER_BASE
from slimdit.reporting.figures.style import COLOURS, GREY, SMALL_PT, message, page, row_positions
from slimdit.reporting.results import StudyResults

MACS, TIME = COLOURS[5], COLOURS[0]
BAR = 0.36
ROW_INCH = 0.27
WORST_PERCENT = -100.0  # where bars are cut, so that one row does not flatten the others


def draw_savings(study: StudyResults) -> Figure:
    table = study.table[study.table["parent"].notna()]
    if table.empty:
        return message("No variant of this study has a parent.")
    time = f"{OVER_BASE}_{SAMPLER}"
    savings = table[["group"]].assign(
        macs_percent=-table[f"macs_per_image{CHANGE}"],
        time_percent=100 * (1 - table[time]),
        # The faster, the more is saved.
        time_percent_low=100 * (1 - table[f"{time}_high"]),
        time_percent_high=100 * (1 - table[f"{time}_low"]),
    )
    return savings_figure(savings, study.speed_batch_size)


def savings_figure(savings: pd.DataFrame, batch_size: int) -> Figure:
    """Two bars a variant, in order from the top, groups apart, of images sampled in such batches.

    savings: by variant its group, and in percent of the parent's cost macs_percent, time_percent
    and the ends of the latter's interval, negative where it costs more; NaN where it was not
    measured.
    """
    rows = row_positions(savings["group"].tolist(), gap=0.5)
    percents = savings.drop(columns="group").astype(float)
    figure = page(ROW_INCH * (rows[-1] + 1) + 0.95)
    axes = figure.subplots()
    _draw_bars(axes, rows - BAR / 2, percents["macs_percent"], MACS, "multiply-accumulates")
    _draw_bars(axes, rows + BAR / 2, percents["time_percent"], TIME, "time of sampling")
    low, high = percents["time_percent_low"], percents["time_percent_high"]
    whiskers = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.5}
    axes.errorbar((low + high) / 2, rows + BAR / 2, xerr=(high - low) / 2, **whiskers)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(rows, savings.index)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows[-1] + 0.6, rows[0] - 0.6)
    ends = np.append(percents, (-10.0, 10.0))
    axes.set_xlim(max(np.nanmin(ends) - 3, WORST_PERCENT), min(np.nanmax(ends) + 3, 100))
    axes.grid(True, axis="x")
    axes.set_xlabel(
        f"Saved, % of the parent's (an image in batches of {batch_size}; time with 95 % intervals)"
    )
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _draw_bars(axes, rows: np.ndarray, percents: pd.Series, colour: str, label: str) -> None:
    shown = percents.clip(lower=WORST_PERCENT)
    axes.barh(rows, shown, height=BAR, color=colour, linewidth=0, label=label)
    for y, percent in zip(rows, percents, strict=True):
        style = {"va": "center", "fontsize": SMALL_PT - 1}
        if math.isnan(percent):
            axes.text(1, y, "not measured", color=GREY, **style)
        elif percent < WORST_PERCENT:
            text_colour = "white" if colour == TIME else "black"
            axes.text(WORST_PERCENT + 1, y, f"{percent:.0f}%", color=text_colour, **style)
