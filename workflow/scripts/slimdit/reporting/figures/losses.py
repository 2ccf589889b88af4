"""Loss curves of the trained variants, absolute and against their parents'."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from slimdit.reporting.figures.samples import wrapped
from slimdit.reporting.figures.style import (
    GREY,
    PAGE_WIDTH_INCH,
    grid_of_panels,
    line_style,
    logarithmic,
)

LEGEND_INCH = 1.3
SMOOTHED_FRACTION = 0.1  # of a run, in one moving mean
REFERENCE_STYLE = {"color": GREY, "linewidth": 2.2, "alpha": 0.45}
REFERENCE_LINES = ("-", (0, (2, 0.8)), (0, (0.6, 0.8)))


@dataclass(frozen=True)
class Curve:
    """A variant's diffusion loss: a row a step, a column for each of its seeds."""

    variant: str
    group: str
    reference: str  # the variant it is compared with
    loss: pd.DataFrame


def read_curve(variant: str, group: str, reference: str, paths: list[str]) -> Curve:
    """From a losses.csv for each seed: MSE + VB, the terms that every variant has."""
    runs = [pd.read_csv(path, index_col="step", float_precision="round_trip") for path in paths]
    loss = pd.concat([run["mse"] + run["vb"] for run in runs], axis=1, join="inner")
    return Curve(variant, group, reference, loss)


def smoothed(loss: pd.DataFrame) -> pd.DataFrame:
    """Mean of each value and those before it, over a window that is a fraction of the run."""
    window = max(1, round(SMOOTHED_FRACTION * len(loss)))
    return loss.rolling(window).mean().iloc[window - 1 :]


def losses_figure(curves: list[Curve]) -> Figure:
    """A row of panels per group: smoothed losses, and their change against the reference's."""
    by_variant = {curve.variant: curve for curve in curves}
    groups = list(dict.fromkeys(curve.group for curve in curves))
    members = {group: [c for c in curves if c.group == group] for group in groups}
    heights_inch = [max(1.5, 0.14 * len(members[group]) + 0.9) for group in groups]
    height_inch = sum(heights_inch) + 0.45
    figure, panels = grid_of_panels(
        (len(groups), 2),
        height_inch,
        bottom_inch=0.42,
        top_inch=0.2,
        left=0.085,
        right=1 - LEGEND_INCH / PAGE_WIDTH_INCH,
        sharex=True,
        height_ratios=heights_inch,
        hspace=0.28,
        wspace=0.4,
    )
    for group, (absolute, relative) in zip(groups, panels, strict=True):
        drawn = _references(members[group], by_variant)
        for index, curve in enumerate(drawn):
            dashes = REFERENCE_LINES[index % len(REFERENCE_LINES)]
            _draw_absolute(absolute, curve, **{**REFERENCE_STYLE, "linestyle": dashes})
        for index, curve in enumerate(members[group]):
            style = line_style(index)
            _draw_absolute(absolute, curve, **style)
            if curve.reference in by_variant:
                _draw_relative(relative, curve, by_variant[curve.reference], **style)
        relative.axhline(0, **REFERENCE_STYLE)
        handles, labels = absolute.get_legend_handles_labels()
        relative.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(1.02, 1.06),
            borderaxespad=0,
            handlelength=2.2,
            title=wrapped(group, 0.85 * LEGEND_INCH),
            title_fontproperties={"size": 8, "weight": "bold"},
            alignment="left",
        )
        references = list(dict.fromkeys(curve.reference for curve in members[group]))
        compared = references[0] if len(references) == 1 else None
        compared = compared if compared in by_variant else "the parent"
        absolute.set_ylabel("MSE + VB")
        relative.set_ylabel(f"Change against\n{compared} (%)")
        for axes in (absolute, relative):
            axes.grid(True)
    _limit(panels[:, 0], curves)
    for axes in panels[-1]:
        axes.set_xlabel("Training step")
        axes.set_xlim(left=0)
    figure.align_ylabels(panels[:, 0])
    figure.align_ylabels(panels[:, 1])
    return figure


def _references(curves: list[Curve], by_variant: dict[str, Curve]) -> list[Curve]:
    own = {curve.variant for curve in curves}
    names = dict.fromkeys(curve.reference for curve in curves)
    return [by_variant[name] for name in names if name in by_variant and name not in own]


def _draw_absolute(axes, curve: Curve, **style) -> None:
    smooth = smoothed(curve.loss)
    axes.plot(smooth.index, smooth.mean(axis=1), label=curve.variant, **style)
    if smooth.shape[1] > 1:
        band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
        axes.fill_between(smooth.index, smooth.min(axis=1), smooth.max(axis=1), **band)


def _draw_relative(axes, curve: Curve, reference: Curve, **style) -> None:
    if curve.variant == reference.variant:
        return
    means = {"after": curve.loss.mean(axis=1), "before": reference.loss.mean(axis=1)}
    smooth = smoothed(pd.concat(means, axis=1, join="inner"))
    axes.plot(smooth.index, 100 * (smooth["after"] / smooth["before"] - 1), **style)


def _limit(panels, curves: list[Curve]) -> None:
    """One scale for all groups, without the first steps' fall from random weights."""
    smooth = [smoothed(curve.loss) for curve in curves]
    settled = np.concatenate([each[len(each) // 10 :].to_numpy().ravel() for each in smooth])
    low, high = settled.min(), settled.max()
    for axes in panels:
        if high > 1.5 * low:
            logarithmic(axes.yaxis, low, high)
        axes.set_ylim(low / 1.03, high * 1.03)
