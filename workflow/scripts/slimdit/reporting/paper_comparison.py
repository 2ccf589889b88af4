"""Our numbers against those that a paper printed of the same variants, and what is said of them."""

from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import numpy as np
import pandas as pd

from slimdit.reporting.columns import DIFFUSION_LOSS, NOT_MEASURED, NOT_REPORTED, UNDEFINED
from slimdit.reporting.markdown_table import markdown_table
from slimdit.reporting.results import StudyResults
from slimdit.study.paper_values import PAPER_COLUMNS, PAPER_IMAGES, Kind, PaperValues

FEWEST_RANKED = 3  # rows that have an order worth a correlation
PAIR = ["variant", "column", "ours", "paper"]
PAIR += ["difference", "difference_percent", "agreement", "comparable"]


class Agreement(StrEnum):
    ROUNDED = "within rounding"
    CUT_OFF = "cut off"  # the printed digits are those of a count that was not rounded
    NONE = "differs"


def comparison(study: StudyResults, paper: PaperValues) -> pd.DataFrame:
    """A row for each number that the paper printed of a variant of this study: by column, in table
    order.

    column: the paper's; ours: in the paper's unit (NaN: not measured); paper: as it is printed;
    difference: ours less the paper's, in percent too (inf: the paper's is zero); comparable:
    whether it is a number of the variant, and not of the machine or of how many images were drawn.
    A Fréchet distance of other features than the Inception graph's is another one than FID.
    """
    columns = [column for column in (*study.columns, DIFFUSION_LOSS) if column.paper]
    pairs = []
    for column in sorted(columns, key=lambda column: PAPER_COLUMNS[column.paper].kind):
        kind, (_, unit) = PAPER_COLUMNS[column.paper].kind, column.units[0]
        if kind == Kind.DISTANCE and study.quality and not study.names.is_fid:
            continue
        comparable = {Kind.MACHINE: False, Kind.DISTANCE: _same_numbers_of_images(study)}
        for variant, ours in (study.table[column.name] / unit).items():
            if printed := paper.get(variant, {}).get(column.paper):
                theirs = float(printed)
                pair = {"variant": variant, "column": column.paper, "ours": ours, "paper": printed}
                pair["difference"] = float(Decimal(str(ours)) - Decimal(printed))
                pair["difference_percent"] = 100 * (ours - theirs) / theirs if theirs else np.inf
                pair["agreement"] = agreement(ours, printed, kind)
                pair["comparable"] = comparable.get(kind, True)
                pairs.append(pair)
    return pd.DataFrame(pairs, columns=PAIR)


def agreement(ours: float, printed: str, kind: Kind) -> Agreement:
    """Equal is within half a unit of the last printed digit, which may be a zero."""
    if np.isnan(ours):
        return Agreement.NONE
    ours, paper = Decimal(str(ours)), Decimal(printed)
    last_digit = Decimal(1).scaleb(paper.as_tuple().exponent)
    if abs(ours - paper) <= last_digit / 2:
        return Agreement.ROUNDED
    if kind == Kind.COUNT and ours.quantize(last_digit, ROUND_DOWN) == paper:
        return Agreement.CUT_OFF
    return Agreement.NONE


def paper_markdown(study: StudyResults, pairs: pd.DataFrame) -> str:
    """What can be compared, a table of it by column, and every cell of the columns that both have;
    pairs: of `comparison`."""
    measured = pairs.dropna(subset="ours")
    if measured.empty:
        return "Nothing that the paper printed was measured here.\n"
    fids = measured[measured["column"] == "fid"].set_index("variant")
    sentences = list(order(fids["ours"], fids["paper"].astype(float)))
    names = list(measured["column"].unique())
    sentences += _caveats(study, names)
    if without := [name for name in pairs["column"].unique() if name not in names]:
        missing = ", ".join(PAPER_COLUMNS[name].heading for name in without)
        sentences.append(f"Printed by the paper, but not measured here: {missing}.")
    listed = "\n".join(f"- {sentence}" for sentence in sentences)
    explained = "Ours / the paper's, with the difference where it is beyond rounding:"
    return f"{listed}\n\n{_summary(measured)}\n\n{explained}\n\n{_cells(study, pairs, names)}\n"


def order(ours: pd.Series, paper: pd.Series) -> Iterator[str]:
    """Whether the rows have the paper's order, from numbers by variant; ties share their ranks."""
    if len(ours) < FEWEST_RANKED or ours.nunique() == 1 or paper.nunique() == 1:
        return
    ranks, paper_ranks = ours.rank(), paper.rank()
    mover = (ranks - paper_ranks).abs().idxmax()
    before, after = paper_ranks[mover], ranks[mover]
    is_same, moved = "is", ""
    if before != after:
        is_same = "is not"
        moved = f"; {mover} moves most, from the paper's rank {before:g} to {after:g}"
    yield (
        f"The order of the rows by FID {is_same} the paper's. Spearman's rank correlation over "
        f"{len(ours)} rows is {ranks.corr(paper_ranks):.2f}{moved}."
    )


def _caveats(study: StudyResults, names: list[str]) -> Iterator[str]:
    """How far the numbers of these columns of the paper's can be compared."""
    if study.quality and not study.names.is_fid:
        yield (
            f"FID and sFID are not compared: this study measures {study.names.fd_label}, a "
            "distance of other features."
        )
    elif study.quality and not _same_numbers_of_images(study):
        first = study.quality[0]
        yield (
            f"FID and sFID are of {first['num_samples']} samples and {first['num_reference']} "
            f"reference images, the paper's of {PAPER_IMAGES} and {PAPER_IMAGES}: differences are "
            "shown but not comparable."
        )
    if "final_loss" in names:
        yield "Final loss is MSE + VB, without the terms of distillation and expert balance."
    if {"peak_memory_gb", "iterations_per_s"} & set(names):
        yield (
            "Peak memory and iterations/s are of the machine: table1.md names ours, the paper does "
            "not name its GPU. Differences are shown but not comparable."
        )


def _same_numbers_of_images(study: StudyResults) -> bool:
    """Whether distances are of as many images as the paper's, on which they depend."""
    counts = {run[count] for run in study.quality for count in ("num_samples", "num_reference")}
    return counts <= {PAPER_IMAGES}


def _summary(measured: pd.DataFrame) -> str:
    lines = []
    for name, of in measured.groupby("column", sort=False):
        percents = of["difference_percent"].replace(np.inf, np.nan).dropna()
        median, largest = UNDEFINED, UNDEFINED
        if not percents.empty:
            where = percents.abs().idxmax()
            median = f"{percents.median():+.1f}%"
            largest = f"{percents[where]:+.1f}% ({of['variant'][where]})"
        num_equal = (of["agreement"] == Agreement.ROUNDED).sum()
        lines.append([PAPER_COLUMNS[name].heading, str(len(of)), str(num_equal), median, largest])
    headings = ["", "Rows", "Within rounding", "Median difference", "Largest difference"]
    return markdown_table(headings, lines)


def _cells(study: StudyResults, pairs: pd.DataFrame, names: list[str]) -> str:
    texts = pairs.assign(text=[_text(pair) for pair in pairs.itertuples()])
    table = texts.pivot(index="variant", columns="column", values="text")
    variants = study.table.index.intersection(table.index, sort=False)
    table = table.reindex(index=variants, columns=names).fillna(NOT_REPORTED)
    headings = ["Model", *(PAPER_COLUMNS[name].heading for name in names)]
    return markdown_table(headings, table.reset_index().to_numpy())


def _text(pair) -> str:
    """As in `32.64 / 32.7 (-0.2%)`: ours with one digit more, and a difference that counts."""
    if np.isnan(pair.ours):
        return f"{NOT_MEASURED} / {pair.paper}"
    decimals = max(0, -Decimal(pair.paper).as_tuple().exponent) + 1
    text, percent = f"{pair.ours:.{decimals}f} / {pair.paper}", pair.difference_percent
    if pair.agreement == Agreement.ROUNDED:
        return text
    change = UNDEFINED if np.isinf(percent) else f"{percent:+.1f}%"
    cut_off = f", {Agreement.CUT_OFF}" if pair.agreement == Agreement.CUT_OFF else ""
    return f"{text} ({change}{cut_off})"
