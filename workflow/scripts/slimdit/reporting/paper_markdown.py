"""Where a study differs from the paper's table and by how much, for people to read."""

from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pandas as pd

from slimdit.reporting.columns import NOT_MEASURED, NOT_REPORTED, UNDEFINED
from slimdit.reporting.conditions import and_joined, speed_conditions
from slimdit.reporting.markdown_table import markdown_table
from slimdit.reporting.paper_comparison import (
    Agreement,
    Pair,
    compared_columns,
    order,
    same_numbers_of_images,
)
from slimdit.reporting.results import StudyResults
from slimdit.study.paper_values import PAPER_COLUMNS, PAPER_IMAGES, Kind, PaperValues


def paper_markdown(study: StudyResults, paper: PaperValues, pairs: pd.DataFrame) -> str:
    """What agrees and what does not, a table of it by column, and every cell that either has.

    pairs: as `comparison` gives them.
    """
    if pairs.empty:
        return "Nothing that the paper printed was measured here.\n"
    by_column = dict(list(pairs.groupby("column", sort=False)))
    sentences = [*_rows(study, paper), *_agreement(by_column), *_order(by_column.get("fid"))]
    sentences += [*_distances(study, by_column), *_others(study, by_column)]
    sentences += _missing(study, paper)
    listed = "\n".join(f"- {sentence}" for sentence in sentences)
    return f"{listed}\n\n{_summary(by_column)}\n\n{_cells(study, paper, pairs)}\n"


def _rows(study: StudyResults, paper: PaperValues) -> Iterator[str]:
    ours = study.table.index
    text = f"Rows in both tables: {sum(ours.isin(paper))}."
    if own := and_joined(ours[~ours.isin(paper)]):
        text += f" Not in the paper's: {own}."
    if theirs := and_joined(sorted(paper.keys() - set(ours))):
        text += f" Not in this study: {theirs}."
    yield text


def _agreement(by_column: dict[str, pd.DataFrame]) -> Iterator[str]:
    agreeing = [
        PAPER_COLUMNS[name].heading
        for name, pairs in by_column.items()
        if pairs["comparable"].all() and _beyond(pairs).empty
    ]
    if agreeing:
        yield f"Within the rounding of the printed digits in every row: {and_joined(agreeing)}."
    for name, pairs in by_column.items():
        heading, kind = PAPER_COLUMNS[name]
        beyond = "; ".join(map(_named, _beyond(pairs).itertuples()))
        if kind == Kind.COUNT and beyond:
            yield f"{heading}, beyond rounding: {beyond}."


def _order(fids: pd.DataFrame | None) -> Iterator[str]:
    if fids is None:
        return
    fids = fids.set_index("variant")
    found = order(fids["ours"], fids["paper"].astype(float))
    if found is None:
        return
    text = f"Spearman's rank correlation over {found.num_rows} rows is {found.spearman:.2f}"
    if found.mover is None:
        yield f"The order of the rows by FID is the paper's. {text}."
    else:
        yield (
            f"The order of the rows by FID is not the paper's. {text}; {found.mover} moves "
            f"most, from the paper's rank {found.paper_rank:g} to {found.rank:g}."
        )


def _distances(study: StudyResults, by_column: dict[str, pd.DataFrame]) -> Iterator[str]:
    if study.quality and not study.names.is_fid:
        yield (
            f"FID and sFID are not compared: this study measures {study.names.fd_label}, a "
            "distance of other features."
        )
    elif "fid" in by_column or "sfid" in by_column:
        first = study.quality[0]
        text = (
            f"FID and sFID are of {first['num_samples']} samples and {first['num_reference']} "
            f"reference images, the paper's of {PAPER_IMAGES} and {PAPER_IMAGES}."
        )
        if not same_numbers_of_images(study):
            text += " They depend on these numbers: differences are shown but not comparable."
        yield text


def _others(study: StudyResults, by_column: dict[str, pd.DataFrame]) -> Iterator[str]:
    if "final_loss" in by_column:
        yield "Final loss is MSE + VB, without the terms of distillation and expert balance."
    if any(PAPER_COLUMNS[name].kind == Kind.MACHINE for name in by_column):
        yield (
            "Peak memory and iterations/s are of the machine: the paper does not name its GPU, so "
            f"differences are shown but not comparable. {' '.join(speed_conditions(study))}"
        )


def _missing(study: StudyResults, paper: PaperValues) -> Iterator[str]:
    missing = []
    for column in compared_columns(study):
        printed = [each for each in study.table.index if column.paper in paper.get(each, {})]
        without = [each for each in printed if pd.isna(study.table.at[each, column.name])]
        if without:
            rows = "" if without == printed else f" ({and_joined(without)})"
            missing.append(f"{PAPER_COLUMNS[column.paper].heading}{rows}")
    if missing:
        yield f"Printed by the paper, but not measured here: {and_joined(missing)}."


def _summary(by_column: dict[str, pd.DataFrame]) -> str:
    lines = []
    for name, pairs in by_column.items():
        beyond, percents = _beyond(pairs), pairs["difference_percent"].replace(np.inf, np.nan)
        median = UNDEFINED if percents.isna().all() else f"{percents.median():+.1f}%"
        sizes = percents.fillna(pairs["difference"]).abs()
        largest = "none beyond rounding"
        if not beyond.empty:
            largest = _named(pairs.loc[sizes[beyond.index].idxmax()])
        numbers = (str(len(pairs)), str(len(pairs) - len(beyond)))
        lines.append([PAPER_COLUMNS[name].heading, *numbers, median, largest])
    headings = ["", "Rows", "Within rounding", "Median difference", "Largest difference"]
    return markdown_table(headings, lines)


def _cells(study: StudyResults, paper: PaperValues, pairs: pd.DataFrame) -> str:
    of_cell = {(pair.variant, pair.column): _cell(pair) for pair in pairs.itertuples()}
    columns = list(pairs["column"].unique())
    lines = []
    for variant in study.table.index[study.table.index.isin(paper)]:
        printed = paper[variant]
        without = {name: f"{NOT_MEASURED} / {printed[name]}" for name in printed}
        cells = (of_cell.get((variant, n), without.get(n, NOT_REPORTED)) for n in columns)
        lines.append([variant, *cells])
    table = markdown_table(["Model", *(PAPER_COLUMNS[name].heading for name in columns)], lines)
    return f"Ours / the paper's, with the difference where it is beyond rounding:\n\n{table}"


def _cell(pair: Pair) -> str:
    text = f"{pair.ours:.{_decimals(pair)}f} / {pair.paper}"
    return text if pair.agreement == Agreement.ROUNDED else f"{text} ({_percent(pair)})"


def _named(pair: Pair) -> str:
    decimals = _decimals(pair)
    text = f"{pair.variant} {pair.ours:.{decimals}f}, the paper {pair.paper} "
    text += f"({pair.difference:+.{decimals}f}, {_percent(pair)}"
    return text + (", cut off)" if pair.agreement == Agreement.CUT_OFF else ")")


def _decimals(pair: Pair) -> int:
    """One more than the paper prints."""
    return max(0, -Decimal(pair.paper).as_tuple().exponent) + 1


def _percent(pair: Pair) -> str:
    percent = pair.difference_percent
    return UNDEFINED if np.isinf(percent) else f"{percent:+.1f}%"


def _beyond(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[pairs["agreement"] != Agreement.ROUNDED]
