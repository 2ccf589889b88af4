"""Our numbers against those that a paper printed of the same variants."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import numpy as np

from slimdit.reporting.results import Row, Study, change_percent

PAPER_IMAGES = 10_000  # its samples, and its reference images
FEWEST_RANKED = 3  # rows that have an order worth a correlation


class Agreement(StrEnum):
    ROUNDED = "within rounding"
    CUT_OFF = "cut off"  # the printed digits are those of a count that was not rounded
    NONE = "differs"


@dataclass(frozen=True)
class Quantity:
    """A column of the paper's, the value of a Result that it is compared with, and its unit."""

    column: str
    heading: str
    value: str
    unit: float = 1.0


COUNTS = (
    Quantity("total_params_million", "Params (M)", "total_params", 1e6),
    Quantity("active_params_million", "Active params (M)", "active_params", 1e6),
    Quantity("gmacs", "GMACs", "macs", 1e9),
)
FID = Quantity("fid", "FID", "fid")
DISTANCES = (FID, Quantity("sfid", "sFID", "sfid"))
LOSSES = (Quantity("final_loss", "Final loss", "diffusion_loss"),)
MACHINES = (
    Quantity("peak_memory_gb", "Peak memory (GB)", "peak_memory_bytes", 1e9),
    Quantity("iterations_per_s", "Iterations/s", "iterations_per_s_compiled"),
)
QUANTITIES = (*COUNTS, *DISTANCES, *LOSSES, *MACHINES)


@dataclass(frozen=True)
class Pair:
    """A cell that both tables have: our number, in the paper's unit, and the paper's digits.

    comparable: whether it is a number of the variant, and not of the machine or of how many images
    were drawn.
    """

    row: Row
    quantity: Quantity
    ours: float
    printed: str
    comparable: bool

    @property
    def paper(self) -> float:
        return float(self.printed)

    @property
    def decimals(self) -> int:
        """How many the paper prints."""
        return max(0, -Decimal(self.printed).as_tuple().exponent)

    @property
    def difference(self) -> float:
        return float(Decimal(str(self.ours)) - Decimal(self.printed))

    @property
    def difference_percent(self) -> float | None:
        """None where the paper's number is zero."""
        return change_percent(self.ours, self.paper)

    @property
    def agreement(self) -> Agreement:
        ours, paper = Decimal(str(self.ours)), Decimal(self.printed)
        last_digit = Decimal(1).scaleb(paper.as_tuple().exponent)
        if abs(ours - paper) <= last_digit / 2:
            return Agreement.ROUNDED
        if self.quantity in COUNTS and ours.quantize(last_digit, ROUND_DOWN) == paper:
            return Agreement.CUT_OFF
        return Agreement.NONE


@dataclass(frozen=True)
class Order:
    """How the rows that both measured are ordered by one quantity, the smallest first.

    mover: the row whose rank differs most, None where the order is the same; ranks are from 1,
    of ties the mean.
    """

    num_rows: int
    spearman: float
    mover: Row | None
    rank: float
    paper_rank: float


def pairs(study: Study, paper: dict[str, dict[str, str]]) -> list[Pair]:
    """Every cell that the study and the paper both have, by quantity, rows in table order.

    A distance of another extractor than the paper's has another name and so is in no pair.
    """
    found = []
    for quantity in QUANTITIES:
        for row in study.rows:
            ours = study.results[row.variant].values.get(quantity.value)
            printed = paper.get(row.variant, {}).get(quantity.column)
            if ours is not None and printed is not None:
                ours /= quantity.unit
                found.append(Pair(row, quantity, ours, printed, _is_comparable(study, quantity)))
    return found


def same_numbers_of_images(study: Study) -> bool:
    """Whether distances are of as many images as the paper's, on which they depend."""
    return all(
        run[number] == PAPER_IMAGES
        for run in study.quality
        for number in ("num_samples", "num_reference")
    )


def _is_comparable(study: Study, quantity: Quantity) -> bool:
    if quantity in DISTANCES:
        return same_numbers_of_images(study)
    return quantity not in MACHINES


def order(pairs: list[Pair]) -> Order | None:
    """Of the pairs of one quantity; None where either side has no order."""
    ours = np.array([pair.ours for pair in pairs])
    papers = np.array([pair.paper for pair in pairs])
    if len(pairs) < FEWEST_RANKED or np.ptp(ours) == 0 or np.ptp(papers) == 0:
        return None
    ranks, paper_ranks = _ranks(ours), _ranks(papers)
    most = int(np.argmax(abs(ranks - paper_ranks)))
    return Order(
        num_rows=len(pairs),
        spearman=float(np.corrcoef(ranks, paper_ranks)[0, 1]),
        mover=pairs[most].row if ranks[most] != paper_ranks[most] else None,
        rank=float(ranks[most]),
        paper_rank=float(paper_ranks[most]),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """(N,) float64, from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
