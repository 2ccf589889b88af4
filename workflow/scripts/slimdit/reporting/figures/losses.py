"""Loss curves of the trained variants, absolute and against their parents'."""

from collections import defaultdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import GREY, LINE_STYLES, logarithmic, message, page, wrapped
from slimdit.reporting.results import StudyResults
from slimdit.storage.files import read_json

LEGEND_INCH = 1.1
SMOOTHED_FRACTION = 0.1  # of a run, in one moving mean
REFERENCE_STYLE = {"color": GREY, "linewidth": 2.2, "alpha": 0.45}
REFERENCE_LINES = ("-", (0, (2, 0.8)), (0, (0.6, 0.8)))


def draw_losses(study: StudyResults, training: list[str], paths: list[str]) -> Figure:
    """A row of panels per group: smoothed losses, and their change against the parent's.

    paths: a losses.csv for each training.json of `training`. Base rows, which have no parent, are
    compared with the first of them, and those that train on, whose first steps are not their
    parent's, with the first of their group. What has no such loss is left out.
    """
    losses = _read_losses(study, training, paths)
    if not losses:
        return message("No variant of this study was trained by the loss of its noise.")
    about = study.table.loc[list(losses)]
    rows = about[["group", "parent"]].fillna({"parent": next(iter(losses))})
    is_further = about["trained_from"].notna()
    firsts = about.index.to_series().groupby([about["group"], is_further]).transform("first")
    rows["parent"] = rows["parent"].mask(is_further, firsts)
    by_group = dict(list(rows.groupby("group", sort=False)))
    heights_inch = [max(1.5, 0.14 * len(members) + 0.9) for members in by_group.values()]
    figure = page(sum(heights_inch) + 0.45)
    grid = {"squeeze": False, "sharex": True, "height_ratios": heights_inch}
    panels = figure.subplots(len(by_group), 2, **grid)
    for (group, members), (absolute, relative) in zip(by_group.items(), panels, strict=True):
        _draw_absolute(absolute, members["parent"], losses)
        _draw_relative(relative, members["parent"], losses)
        relative.legend(
            *absolute.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(1.02, 1.06),
            borderaxespad=0,
            handlelength=2.2,
            title=wrapped(group, LEGEND_INCH),
            title_fontproperties={"size": 8, "weight": "bold"},
            alignment="left",
        )
    _limit(panels[:, 0], losses)
    for axes in panels[-1]:
        axes.set(xlabel="Training step", xlim=(0, None))
    figure.align_ylabels()
    return figure


def smoothed(loss: pd.DataFrame) -> pd.DataFrame:
    """Mean of each value and those before it, over a window that is a fraction of the run."""
    window = max(1, round(SMOOTHED_FRACTION * len(loss)))
    return loss.rolling(window).mean().iloc[window - 1 :]


def _read_losses(study: StudyResults, training: list[str], paths: list[str]) -> dict:
    """MSE + VB, the terms that every variant has: by variant, a row a step, a column a seed."""
    runs = defaultdict(list)
    for report, path in zip(training, paths, strict=True):
        run = pd.read_csv(path, index_col="step", float_precision="round_trip")
        runs[read_json(report)["variant"]].append(run["mse"] + run["vb"])
    trained = [variant for variant in study.table.index if variant in runs]
    losses = {variant: pd.concat(runs[variant], axis=1, join="inner") for variant in trained}
    return {variant: loss for variant, loss in losses.items() if loss.notna().all(axis=None)}


def _draw_absolute(axes, parents: pd.Series, losses: dict[str, pd.DataFrame]) -> None:
    """The group's variants, and their parents from other groups below them."""
    others = [name for name in parents.unique() if name in losses and name not in parents.index]
    styles = {
        name: REFERENCE_STYLE | {"linestyle": REFERENCE_LINES[index % len(REFERENCE_LINES)]}
        for index, name in enumerate(others)
    }
    styles |= dict(zip(parents.index, LINE_STYLES(), strict=False))
    for name, style in styles.items():
        smooth = smoothed(losses[name])
        axes.plot(smooth.index, smooth.mean(axis=1), label=name, **style)
        if smooth.shape[1] > 1:
            band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
            axes.fill_between(smooth.index, smooth.min(axis=1), smooth.max(axis=1), **band)
    axes.set_ylabel("MSE + VB")
    axes.grid(True)


def _draw_relative(axes, parents: pd.Series, losses: dict[str, pd.DataFrame]) -> None:
    for (variant, parent), style in zip(parents.items(), LINE_STYLES(), strict=False):
        if parent in losses and parent != variant:
            means = {"after": losses[variant].mean(axis=1), "before": losses[parent].mean(axis=1)}
            smooth = smoothed(pd.concat(means, axis=1, join="inner"))
            change = 100 * (smooth["after"] / smooth["before"] - 1)
            axes.plot(smooth.index, change, **style)
    axes.axhline(0, **REFERENCE_STYLE)
    only = parents.iloc[0] if parents.nunique() == 1 and parents.iloc[0] in losses else "the parent"
    axes.set_ylabel(f"Change against\n{only} (%)")
    axes.grid(True)


def _limit(panels: np.ndarray, losses: dict[str, pd.DataFrame]) -> None:
    """One scale for all groups, without the first steps' fall from random weights."""
    smooth = [smoothed(loss) for loss in losses.values()]
    settled = np.concatenate([each[len(each) // 10 :].to_numpy().ravel() for each in smooth])
    low, high = settled.min(), settled.max()
    for axes in panels:
        if high > 1.5 * low:
            logarithmic(axes.yaxis, low, high)
        axes.set_ylim(low / 1.03, high * 1.03)
