"""What the page can put on its axes: every cost and every quality that some row has."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from slimdit.profiling.modes import COMPILED, EAGER, SAMPLER
from slimdit.reporting.columns import HIGHER, LOWER, Column
from slimdit.reporting.differences import part_name
from slimdit.reporting.recommendation.recommend import Recommendation
from slimdit.reporting.results import StudyResults

COSTS = (
    *(f"images_per_s_{SAMPLER}", "macs_per_image", "passes_per_image"),
    *("peak_memory_bytes", "weight_bytes", "total_params"),
    *(f"latency_over_base_{mode}" for mode in (EAGER, COMPILED)),
)
QUALITIES = (
    *("held_out_loss", "kid", "class_accuracy", "precision", "recall", "density", "coverage"),
    *("reconstructed_precision", "reconstructed_recall"),
)


@dataclass(frozen=True)
class PageAxis:
    """values: by variant `value`, and the ends `low` and `high` of its interval (NaN: none).
    better: LOWER or HIGHER. window: the value up to which a row may be recommended, if any."""

    label: str
    values: pd.DataFrame
    better: str = LOWER
    window: float | None = None


def cost_axes(study: StudyResults, answer: Recommendation) -> list[PageAxis]:
    """That of the recommendation first."""
    cost = answer.cost
    own = answer.rows[list(cost.values)].map(cost.shown)
    own.columns = ["value", "low", "high"]
    axes = [PageAxis(cost.heading, own, HIGHER if cost.rate else LOWER)]
    axes += map(_plain, _columns(study, COSTS), [study.table] * len(COSTS))
    hours = answer.rows["training_hours"]
    axes.append(PageAxis("Training beyond the base's (h)", _values(hours)))
    return _known(study, axes)


def quality_axes(study: StudyResults, answer: Recommendation) -> list[PageAxis]:
    """The loss that is tested first, with the window."""
    rows, names = answer.rows, study.names
    loss = _values(*(100 * rows[f"loss{end}"].astype(float) for end in ("", "_low", "_high")))
    axes = [
        PageAxis(f"{answer.metric} against {answer.base} (%)", loss, window=100 * answer.max_loss)
    ]
    distances = (names.fd_column, names.sfd_column, names.column("reconstructed_fd"))
    for column in _columns(study, (*distances, *QUALITIES)):
        axes.append(_plain(column, study.table))
    return _known(study, axes)


def _columns(study: StudyResults, names: tuple[str, ...]) -> Iterator[Column]:
    by_name = {column.name: column for column in study.columns}
    yield from (by_name[name] for name in names)


def _plain(column: Column, table: pd.DataFrame) -> PageAxis:
    """Of a column of the table; its interval is that of the difference from the parent."""
    values = table[column.name].astype(float)
    unit, size = column.unit(values.max())
    ends = []
    if column.differs:
        change, *bounds = (
            table[part_name(column.name, part)].astype(float)
            for part in ("difference", "low", "high")
        )
        ends = [(values - change + bound) / size for bound in bounds]
    elif column.has_interval:
        ends = [table[f"{column.name}_{end}"].astype(float) for end in ("low", "high")]
    label = column.heading.format(unit=unit).removesuffix(" [active]")
    return PageAxis(label, _values(values / size, *ends), column.better or LOWER)


def _values(value: pd.Series, *ends: pd.Series) -> pd.DataFrame:
    low, high = ends or (value * float("nan"),) * 2
    return pd.DataFrame({"value": value.astype(float), "low": low, "high": high})


def _known(study: StudyResults, axes: list[PageAxis]) -> list[PageAxis]:
    """Those of which some row has a value, rows in table order."""
    return [
        PageAxis(axis.label, axis.values.reindex(study.table.index), axis.better, axis.window)
        for axis in axes
        if axis.values["value"].notna().any()
    ]
