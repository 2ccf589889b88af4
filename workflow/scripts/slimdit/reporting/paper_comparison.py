"""Our numbers against those that a paper printed of the same variants, and what is said of them."""

from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd

from slimdit.reporting.columns import DIFFUSION_LOSS, NOT_MEASURED, NOT_REPORTED, UNDEFINED, Column
from slimdit.reporting.conditions import and_joined, speed_conditions
from slimdit.reporting.markdown_table import markdown_table
from slimdit.reporting.results import StudyResults
from slimdit.study.paper_values import PAPER_COLUMNS, PAPER_IMAGES, Kind, PaperValues

FEWEST_RANKED = 3  # rows that have an order worth a correlation


class Agreement(StrEnum):
    ROUNDED = "within rounding"
    CUT_OFF = "cut off"  # the printed digits are those of a count that was not rounded
    NONE = "differs"


class Pair(NamedTuple):
    """A cell that both tables have.

    column: the paper's; ours: in the paper's unit; paper: as it is printed; difference: ours less
    the paper's, in percent too (inf: the paper's is zero); comparable: whether it is a number of
    the variant, and not of the machine or of how many images were drawn.
    """

    variant: str
    column: str
    ours: float
    paper: str
    difference: float
    difference_percent: float
    agreement: Agreement
    comparable: bool


def comparison(study: StudyResults, paper: PaperValues) -> pd.DataFrame:
    """A row, with the fields of Pair, for each cell that both have: by column, in table order."""
    is_comparable = {Kind.MACHINE: False, Kind.DISTANCE: _same_numbers_of_images(study)}
    pairs = []
    for column in _compared_columns(study):
        kind, (_, unit) = _kind(column), column.units[0]
        for variant, value in study.table[column.name].dropna().items():
            if printed := paper.get(variant, {}).get(column.paper):
                ours, theirs = value / unit, float(printed)
                difference = float(Decimal(str(ours)) - Decimal(printed))
                percent = 100 * (ours - theirs) / theirs if theirs else np.inf
                same, comparable = agreement(ours, printed, kind), is_comparable.get(kind, True)
                found = (column.paper, ours, printed, difference, percent, same, comparable)
                pairs.append(Pair(variant, *found))
    return pd.DataFrame(pairs, columns=Pair._fields)


def agreement(ours: float, printed: str, kind: Kind) -> Agreement:
    """Equal is within half a unit of the last printed digit, which may be a zero."""
    ours, paper = Decimal(str(ours)), Decimal(printed)
    last_digit = Decimal(1).scaleb(paper.as_tuple().exponent)
    if abs(ours - paper) <= last_digit / 2:
        return Agreement.ROUNDED
    if kind == Kind.COUNT and ours.quantize(last_digit, ROUND_DOWN) == paper:
        return Agreement.CUT_OFF
    return Agreement.NONE


def paper_markdown(study: StudyResults, paper: PaperValues, pairs: pd.DataFrame) -> str:
    """What agrees and what does not, a table of it by column, and every cell that either has.

    pairs: as `comparison` gives them.
    """
    if pairs.empty:
        return "Nothing that the paper printed was measured here.\n"
    sentences = [*_rows(study, paper), *_agreement(pairs)]
    if (fids := pairs[pairs["column"] == "fid"].set_index("variant")).size:
        sentences += order(fids["ours"], fids["paper"].astype(float))
    sentences += [*_caveats(study, set(pairs["column"])), *_missing(study, paper)]
    listed = "\n".join(f"- {sentence}" for sentence in sentences)
    return f"{listed}\n\n{_summary(pairs)}\n\n{_cells(study, paper, pairs)}\n"


def order(ours: pd.Series, paper: pd.Series) -> Iterator[str]:
    """Whether the rows have the paper's order, from numbers by variant; ties share their ranks."""
    if len(ours) < FEWEST_RANKED or ours.nunique() == 1 or paper.nunique() == 1:
        return
    ranks, paper_ranks = ours.rank(), paper.rank()
    mover = (ranks - paper_ranks).abs().idxmax()
    text = f"Spearman's rank correlation over {len(ours)} rows is {ranks.corr(paper_ranks):.2f}"
    if ranks[mover] == paper_ranks[mover]:
        yield f"The order of the rows by FID is the paper's. {text}."
    else:
        yield (
            f"The order of the rows by FID is not the paper's. {text}; {mover} moves "
            f"most, from the paper's rank {paper_ranks[mover]:g} to {ranks[mover]:g}."
        )


def _compared_columns(study: StudyResults) -> list[Column]:
    """Those that the paper has too; a distance of other features than FID's is another one."""
    columns = [column for column in (*study.columns, DIFFUSION_LOSS) if column.paper]
    if study.quality and not study.names.is_fid:
        columns = [each for each in columns if _kind(each) != Kind.DISTANCE]
    return sorted(columns, key=_kind)


def _kind(column: Column) -> Kind:
    return PAPER_COLUMNS[column.paper].kind


def _same_numbers_of_images(study: StudyResults) -> bool:
    """Whether distances are of as many images as the paper's, on which they depend."""
    counts = {run[count] for run in study.quality for count in ("num_samples", "num_reference")}
    return counts <= {PAPER_IMAGES}


def _rows(study: StudyResults, paper: PaperValues) -> Iterator[str]:
    ours = study.table.index
    text = f"Rows in both tables: {sum(ours.isin(paper))}."
    if own := and_joined(ours[~ours.isin(paper)]):
        text += f" Not in the paper's: {own}."
    if theirs := and_joined(sorted(paper.keys() - set(ours))):
        text += f" Not in this study: {theirs}."
    yield text


def _agreement(pairs: pd.DataFrame) -> Iterator[str]:
    agreeing, beyond = [], []
    for name, of in pairs.groupby("column", sort=False):
        heading, kind = PAPER_COLUMNS[name]
        named = "; ".join(map(_named, _beyond(of).itertuples()))
        if not named and of["comparable"].all():
            agreeing.append(heading)
        elif named and kind == Kind.COUNT:
            beyond.append(f"{heading}, beyond rounding: {named}.")
    if agreeing:
        yield f"Within the rounding of the printed digits in every row: {and_joined(agreeing)}."
    yield from beyond


def _caveats(study: StudyResults, columns: set[str]) -> Iterator[str]:
    """How far the numbers of these columns of the paper's can be compared."""
    if study.quality and not study.names.is_fid:
        yield (
            f"FID and sFID are not compared: this study measures {study.names.fd_label}, a "
            "distance of other features."
        )
    elif columns & {"fid", "sfid"}:
        first = study.quality[0]
        text = (
            f"FID and sFID are of {first['num_samples']} samples and {first['num_reference']} "
            f"reference images, the paper's of {PAPER_IMAGES} and {PAPER_IMAGES}."
        )
        if not _same_numbers_of_images(study):
            text += " They depend on these numbers: differences are shown but not comparable."
        yield text
    if "final_loss" in columns:
        yield "Final loss is MSE + VB, without the terms of distillation and expert balance."
    if columns & {"peak_memory_gb", "iterations_per_s"}:
        yield (
            "Peak memory and iterations/s are of the machine: the paper does not name its GPU, so "
            f"differences are shown but not comparable. {' '.join(speed_conditions(study))}"
        )


def _missing(study: StudyResults, paper: PaperValues) -> Iterator[str]:
    missing = []
    for column in _compared_columns(study):
        printed = [each for each in study.table.index if column.paper in paper.get(each, {})]
        without = [each for each in printed if pd.isna(study.table.at[each, column.name])]
        if without:
            rows = "" if without == printed else f" ({and_joined(without)})"
            missing.append(f"{PAPER_COLUMNS[column.paper].heading}{rows}")
    if missing:
        yield f"Printed by the paper, but not measured here: {and_joined(missing)}."


def _summary(pairs: pd.DataFrame) -> str:
    lines = []
    for name, of in pairs.groupby("column", sort=False):
        beyond, percents = _beyond(of), of["difference_percent"].replace(np.inf, np.nan)
        median = UNDEFINED if percents.isna().all() else f"{percents.median():+.1f}%"
        largest = "none beyond rounding"
        if not beyond.empty:
            sizes = percents.fillna(of["difference"]).abs()
            largest = _named(of.loc[sizes[beyond.index].idxmax()])
        counts = (str(len(of)), str(len(of) - len(beyond)))
        lines.append([PAPER_COLUMNS[name].heading, *counts, median, largest])
    headings = ["", "Rows", "Within rounding", "Median difference", "Largest difference"]
    return markdown_table(headings, lines)


def _cells(study: StudyResults, paper: PaperValues, pairs: pd.DataFrame) -> str:
    of_both = {(pair.variant, pair.column): _cell(pair) for pair in pairs.itertuples()}
    columns = list(pairs["column"].unique())
    lines = []
    for variant in study.table.index[study.table.index.isin(paper)]:
        alone = {name: f"{NOT_MEASURED} / {text}" for name, text in paper[variant].items()}
        cells = [of_both.get((variant, n)) or alone.get(n, NOT_REPORTED) for n in columns]
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
