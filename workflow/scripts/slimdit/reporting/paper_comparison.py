"""Our numbers against those that a paper printed of the same variants."""

from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from slimdit.reporting.columns import DIFFUSION_LOSS, Column
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


class Order(NamedTuple):
    """How the rows that both measured are ordered by one quantity, the smallest first.

    mover: the variant whose rank differs most, None where the order is the same; ranks are from 1,
    of ties the mean.
    """

    num_rows: int
    spearman: float
    mover: str | None
    rank: float
    paper_rank: float


def compared_columns(study: StudyResults) -> list[Column]:
    """Those that the paper has too; a distance of other features than FID's is another one."""
    columns = [column for column in (*study.columns, DIFFUSION_LOSS) if column.paper]
    if study.quality and not study.names.is_fid:
        columns = [each for each in columns if kind_of(each) != Kind.DISTANCE]
    return sorted(columns, key=kind_of)


def kind_of(column: Column) -> Kind:
    return PAPER_COLUMNS[column.paper].kind


def comparison(study: StudyResults, paper: PaperValues) -> pd.DataFrame:
    """A row, with the fields of Pair, for each cell that both have: by column, in table order."""
    is_comparable = {Kind.MACHINE: False, Kind.DISTANCE: same_numbers_of_images(study)}
    pairs = []
    for column in compared_columns(study):
        kind, (_, unit) = kind_of(column), column.units[0]
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


def same_numbers_of_images(study: StudyResults) -> bool:
    """Whether distances are of as many images as the paper's, on which they depend."""
    counts = {run[count] for run in study.quality for count in ("num_samples", "num_reference")}
    return counts <= {PAPER_IMAGES}


def order(ours: pd.Series, paper: pd.Series) -> Order | None:
    """Of numbers by variant; None where either side has no order."""
    if len(ours) < FEWEST_RANKED or ours.nunique() == 1 or paper.nunique() == 1:
        return None
    ranks, paper_ranks = rankdata(ours), rankdata(paper)
    most = np.argmax(abs(ranks - paper_ranks))
    mover = ours.index[most] if ranks[most] != paper_ranks[most] else None
    spearman = float(spearmanr(ours, paper).statistic)
    return Order(len(ours), spearman, mover, float(ranks[most]), float(paper_ranks[most]))
