"""What each variant saves in multiply-accumulates beside what it saves in time."""

from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import COLOURS, GREY, PAGE_WIDTH_INCH, SMALL_PT

MACS, TIME = COLOURS[5], COLOURS[0]
BAR = 0.36
ROW_INCH = 0.27
WORST_PERCENT = -100.0  # where bars are cut, so that one row does not flatten the others


@dataclass(frozen=True)
class Saving:
    """A variant's savings in percent of its base's cost, negative where it costs more; None where
    they were not measured. quartiles_percent: low and high, of the time."""

    label: str
    group: str
    macs_percent: float | None
    time_percent: float | None
    quartiles_percent: tuple[float, float] | None = None


def savings_figure(savings: list[Saving], how: str) -> Figure:
    """Two bars a variant, in order from the top, groups apart; `how` its time was measured."""
    rows = _positions(savings)
    height_inch = ROW_INCH * (rows[-1] + 1) + 0.95
    longest = max(len(saving.label) for saving in savings)
    figure, axes = plt.subplots(
        figsize=(PAGE_WIDTH_INCH, height_inch),
        gridspec_kw={
            "left": min(0.1 + 0.065 * longest, 2.5) / PAGE_WIDTH_INCH,
            "right": 0.97,
            "bottom": 0.45 / height_inch,
            "top": 1 - 0.4 / height_inch,
        },
    )
    for saving, y in zip(savings, rows, strict=True):
        _draw_bar(axes, y - BAR / 2, saving.macs_percent, None, MACS)
        _draw_bar(axes, y + BAR / 2, saving.time_percent, saving.quartiles_percent, TIME)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(rows, [saving.label for saving in savings])
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


def _draw_bar(axes, y: float, percent: float | None, quartiles, colour: str) -> None:
    if percent is None:
        axes.text(1, y, "not measured", va="center", fontsize=SMALL_PT - 1, color=GREY)
        return
    shown = max(percent, WORST_PERCENT)
    axes.barh(y, shown, height=BAR, color=colour, linewidth=0)
    if shown != percent:
        axes.text(
            WORST_PERCENT + 1,
            y,
            f"{percent:.0f}%",
            va="center",
            fontsize=SMALL_PT - 1,
            color="white" if colour == TIME else "black",
        )
    elif quartiles:
        low, high = np.maximum(quartiles, WORST_PERCENT)
        axes.plot([low, high], [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
        axes.plot([low, high], [y, y], "|", color="black", markersize=3, markeredgewidth=0.8)


def _positions(savings: list[Saving]) -> list[float]:
    """Of the rows, from the top, a row being 1 high."""
    positions, y = [], 0.0
    for index, saving in enumerate(savings):
        if index:
            y += 1.0 if saving.group == savings[index - 1].group else 1.5
        positions.append(y)
    return positions


def _limits(savings: list[Saving]) -> tuple[float, float]:
    """Of the horizontal axis, zero in it."""
    ends = [0.0, 10.0, -10.0]
    for saving in savings:
        known = (saving.macs_percent, saving.time_percent, *(saving.quartiles_percent or ()))
        ends += [value for value in known if value is not None]
    return max(min(ends) - 3, WORST_PERCENT), min(max(ends) + 3, 100)
