"""Loss curves of the trained variants, absolute and against their parents'."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.core.errors import InputError
from slimdit.reporting.figures.samples import wrapped
from slimdit.reporting.figures.style import GREY, PAGE_WIDTH_INCH, line_style, logarithmic

LEGEND_INCH = 1.3
SMOOTHED_FRACTION = 0.1  # of a run, in one moving mean
REFERENCE_STYLE = {"color": GREY, "linewidth": 2.2, "alpha": 0.45}
REFERENCE_LINES = ("-", (0, (2, 0.8)), (0, (0.6, 0.8)))


@dataclass(frozen=True)
class Curve:
    """A variant's diffusion loss: step (S,), loss (R, S) of its R seeds."""

    variant: str
    group: str
    reference: str | None  # the variant it is compared with
    step: np.ndarray
    loss: np.ndarray

    @property
    def window(self) -> int:
        """Number of logged values in one moving mean."""
        return max(1, round(SMOOTHED_FRACTION * len(self.step)))


def read_losses(path: str | Path) -> pd.DataFrame:
    """A losses.csv by step; NaN where a term is empty. Raises InputError where it has no losses."""
    try:
        losses = pd.read_csv(path, index_col="step", float_precision="round_trip")
    except ValueError:  # an empty file, or one without steps
        losses = pd.DataFrame()
    if losses.empty or "loss" not in losses:
        raise InputError(
            f"{path} has no losses; it should have the columns step,loss,... and rows."
        )
    return losses


def mean_curve(variant: str, group: str, reference: str | None, runs: list[pd.DataFrame]) -> Curve:
    """The curve of a variant's runs, as `read_losses` reads them, at their common steps.

    MSE + VB, the terms that every variant has, so that curves can be compared.
    """
    loss = pd.concat([run["mse"] + run["vb"] for run in runs], axis=1, join="inner")
    return Curve(variant, group, reference, loss.index.to_numpy(float), loss.to_numpy().T)


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and the window - 1 before it: (S,) -> (S - window + 1,)."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    return (sums[window:] - sums[:-window]) / window


def losses_figure(curves: list[Curve]) -> Figure:
    """A row of panels per group: smoothed losses, and their change against the reference's."""
    by_variant = {curve.variant: curve for curve in curves}
    groups = list(dict.fromkeys(curve.group for curve in curves))
    members = {group: [c for c in curves if c.group == group] for group in groups}
    heights_inch = [max(1.5, 0.14 * len(members[group]) + 0.9) for group in groups]
    height_inch = sum(heights_inch) + 0.45
    figure, panels = plt.subplots(
        len(groups),
        2,
        squeeze=False,
        sharex=True,
        figsize=(PAGE_WIDTH_INCH, height_inch),
        gridspec_kw={
            "height_ratios": heights_inch,
            "left": 0.085,
            "right": 1 - LEGEND_INCH / PAGE_WIDTH_INCH,
            "bottom": 0.42 / height_inch,
            "top": 1 - 0.2 / height_inch,
            "hspace": 0.28,
            "wspace": 0.4,
        },
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
    step = curve.step[curve.window - 1 :]
    smooth = np.stack([moving_mean(loss, curve.window) for loss in curve.loss])
    axes.plot(step, smooth.mean(axis=0), label=curve.variant, **style)
    if len(smooth) > 1:
        band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
        axes.fill_between(step, smooth.min(axis=0), smooth.max(axis=0), **band)


def _draw_relative(axes, curve: Curve, reference: Curve, **style) -> None:
    if curve.variant == reference.variant:
        return
    step = np.intersect1d(curve.step, reference.step)
    window = max(1, round(SMOOTHED_FRACTION * len(step)))
    if len(step) < window or not len(step):
        return
    before = moving_mean(reference.loss.mean(axis=0)[np.isin(reference.step, step)], window)
    after = moving_mean(curve.loss.mean(axis=0)[np.isin(curve.step, step)], window)
    axes.plot(step[window - 1 :], 100 * (after / before - 1), **style)


def _limit(panels, curves: list[Curve]) -> None:
    """One scale for all groups, without the first steps' fall from random weights."""
    settled = []
    for curve in curves:
        for loss in curve.loss:
            smooth = moving_mean(loss, curve.window)
            settled.append(smooth[len(smooth) // 10 :])
    low, high = min(map(np.min, settled)), max(map(np.max, settled))
    for axes in panels:
        if high > 1.5 * low:
            logarithmic(axes.yaxis, low, high)
        axes.set_ylim(low / 1.03, high * 1.03)
