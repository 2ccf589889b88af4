"""The results table for people to read."""

import math
from collections.abc import Iterable

import pandas as pd

from slimdit.core.text import in_markdown
from slimdit.reporting.columns import (
    BEYOND_NOISE,
    CHANGE,
    INTERVAL,
    NOISE,
    NONE,
    NOT_MEASURED,
    QUALITY,
    RECONSTRUCTED,
    SPEED,
    STD_OVER_SEEDS,
    Column,
    number,
)
from slimdit.reporting.conclusions import conclusions
from slimdit.reporting.conditions import conditions
from slimdit.reporting.differences import ONE_TRAINING, part_name
from slimdit.reporting.results import StudyResults


def table1_markdown(study: StudyResults, autoencoders: Iterable[dict] = ()) -> str:
    """Table 1 in four parts, with group headings; what can be concluded of each group; and the
    conditions under which all was measured."""
    texts = [_table_of(study, ""), *conclusions(study)]
    for part in (QUALITY, RECONSTRUCTED, SPEED):
        texts += [f"## {part}", _table_of(study, part)]
    return "\n\n".join([*texts, "## How to read it", conditions(study, autoencoders)]) + "\n"


def _table_of(study: StudyResults, part: str) -> str:
    """The columns of a part of table 1; real images, which have no speed, have their number."""
    table = study.table if part == SPEED else study.rows
    headings, units = ["Model"], {}
    for column in study.columns:
        is_left_out = column.is_optional and table[column.name].isna().all()
        if column.heading and column.part == part and not is_left_out:
            unit, units[column] = column.unit(table[column.name].max())
            headings.append(f"{column.heading.format(unit=unit)} {column.better}".rstrip())
    lines = []
    for group, rows in table.groupby("group", sort=False):
        lines.append([f"**{in_markdown(group)}**", *[""] * (len(headings) - 1)])
        for variant, row in rows.iterrows():
            name = f"{variant} ({row['num_images']:.0f})" if row["is_reference"] else variant
            lines.append([name, *(_cell(row, *each) for each in units.items())])
    return markdown_table(headings, lines)


def markdown_table(headings: list[str], lines: list[list[str]]) -> str:
    """Of cells of text; the first column is flush left, the others right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *lines))


def _cell(row: pd.Series, column: Column, unit: float) -> str:
    """As in `21.0 ± 0.4 (+1.2 ~)`, `1.24 [1.19, 1.32 ~]` and `2.81 [1.03] (+284.5%)`."""
    name, value = column.name, row[column.name]
    if pd.isna(value):
        is_none = row["is_reference"] or (column.needs_parent and pd.isna(row["parent"]))
        return NONE if is_none else NOT_MEASURED
    text = number(value / unit)
    if pd.notna(std := row.get(f"{name}{STD_OVER_SEEDS}")):
        text += f" ± {number(std / unit, like=value / unit)}"
    if column.beside and pd.notna(other := row[column.beside]) and other != value:
        text += f" [{number(other / unit)}]"
    if column.has_interval and pd.notna(row[f"{name}_low"]):
        mark = f" {NOISE}" if row[part_name(name, "significant")] is False else ""
        low, high = (number(row[f"{name}{end}"], like=value) for end in INTERVAL[1:])
        text += f" [{low}, {high}{mark}]"
    if column.differs:
        text += difference(row, name, unit, value)
    return text + bracket(row[f"{name}{CHANGE}"]) if column.changes else text


def difference(row: pd.Series, name: str, unit: float, value: float) -> str:
    """` (-38.8 ~)`: from the parent's value, with what it tells; nothing where both are the same,
    or it is not known what it tells."""
    kind = row["compared"]
    is_beyond, change = (row[part_name(name, part)] for part in ("significant", "difference"))
    if kind == ONE_TRAINING:
        return " (1 seed)"
    if pd.isna(is_beyond) or change == 0:
        return ""
    mark = BEYOND_NOISE[kind] if is_beyond else NOISE
    sign = "+" if change > 0 else "-"
    size = number(abs(change) / unit, like=value / unit)
    if float(size) == 0:  # too small for the value's decimals
        size = f"{abs(change) / unit:.1g}"
    return f" ({sign}{size} {mark})"


def bracket(change_percent: float) -> str:
    """` (-10.1%)`; nothing where there is no change to give."""
    if change_percent == 0 or not math.isfinite(change_percent):
        return ""
    return f" ({change_percent:+.1f}%)"
