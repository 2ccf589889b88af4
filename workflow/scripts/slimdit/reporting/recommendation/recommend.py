"""The answer of a study: which row to use, of those that lose at most so much quality."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from slimdit.reporting.differences import ONE_TRAINING, THIS_CHECKPOINT, ancestors_of
from slimdit.reporting.recommendation.costs import LATENCY, Cost, cost_of
from slimdit.reporting.recommendation.training import training_hours
from slimdit.reporting.recommendation.window import (
    Ratios,
    losses,
    seeds_needed,
    times_the_samples,
    with_intervals,
)
from slimdit.reporting.results import StudyResults

MAX_LOSS = 0.02  # of the base's Fréchet distance
# Answers for a row, the best first.
THE_BASE = "the base"
INSIDE = "inside the window"
CANNOT_TELL = "cannot tell"
WORSE = "outside the window"
NOT_CHEAPER = "not shown to be cheaper"
NOT_MEASURED = "not measured"
ANSWERS = (THE_BASE, INSIDE, CANNOT_TELL, WORSE, NOT_CHEAPER, NOT_MEASURED)


@dataclass(frozen=True)
class Recommendation:
    """What follows from a study for one measure of cost and one window.

    max_loss: the largest loss allowed, a part of the base's Fréchet distance. rows: by variant, the
    best answer first and then the cheapest: answer, the columns of Cost.values, those of
    `with_intervals`, samples_needed and trainings_needed (more than there are; NaN where that is
    not the question), num_samples, training_hours beyond the base's, config (what the config says
    of it), and dominated_by (a row that costs no more and loses less, beyond the noise of this
    pair; None: there is none). without_training and
    with_training: the cheapest row inside the window that needs no training beyond the base's, and
    that needs one; None where there is none.
    """

    base: str
    by: str
    max_loss: float
    metric: str
    batch_size: int
    cost: Cost
    num_tested: int
    rows: pd.DataFrame
    without_training: str | None
    with_training: str | None

    @property
    def row(self) -> str:
        """The cheapest of all rows inside the window, or the base."""
        found = [name for name in (self.without_training, self.with_training) if name]
        return min(found, key=self.rows["cost"].get, default=self.base)


def recommend(study: StudyResults, max_loss: float = MAX_LOSS, by: str = LATENCY) -> Recommendation:
    """Of the rows that cost less than the base, beyond the noise of the clock, those whose loss is
    inside the window at the joint level of 5 %, the cheapest first.

    by: one of `costs.BY`. Raises InputError where it was not measured.
    """
    table, cost = study.table, cost_of(study, by)
    base = table.index[table["parent"].isna()][0]
    ancestors = ancestors_of(table["derived_from"])
    ratios = Ratios(study.quality, ancestors)
    found = losses(ratios, base).reindex(table.index)
    found = found.astype({name: float for name in found if name != "compared"})
    of_base = cost.values["cost"].get(base, np.nan)
    is_cheaper = cost.values["cost_high"] < of_base
    num_tested = int((is_cheaper & found["error"].notna()).sum())
    rows = pd.concat([cost.values, with_intervals(found, num_tested)], axis=1)
    rows["answer"] = _answers(rows, is_cheaper, max_loss)
    rows.loc[base, ["answer", "loss"]] = THE_BASE, 0.0
    rows["training_hours"] = training_hours(study, ancestors, base)
    rows["num_samples"] = table["num_images"]
    rows["config"] = table.get("config", "")
    rows = _with_needs(rows, max_loss, num_tested)
    rank = rows["answer"].map(ANSWERS.index)
    rows = rows.assign(rank=rank).sort_values(["rank", "cost", "loss"]).drop(columns="rank")
    inside = rows[rows["answer"] == INSIDE]
    is_trained = inside["training_hours"] != 0  # NaN: trained for an unknown time
    best = [next(iter(inside.index[chosen]), None) for chosen in (~is_trained, is_trained)]
    dominators = [_dominator(name, rows["cost"], ratios, best) for name in rows.index]
    rows["dominated_by"] = pd.Series(dominators, rows.index, dtype=object)
    fd = study.names.fd_label
    return Recommendation(
        base, by, max_loss, fd, study.speed_batch_size, cost, num_tested, rows, *best
    )


def _answers(rows: pd.DataFrame, is_cheaper: pd.Series, max_loss: float) -> pd.Series:
    is_measured = rows["cost"].notna() & rows["loss"].notna()
    return pd.Series(
        np.select(
            [
                ~is_measured,
                ~is_cheaper,
                rows["loss_high"] <= max_loss,
                rows["loss_low"] > max_loss,
            ],
            [NOT_MEASURED, NOT_CHEAPER, INSIDE, WORSE],
            CANNOT_TELL,
        ),
        rows.index,
    )


def _with_needs(rows: pd.DataFrame, max_loss: float, num_tested: int) -> pd.DataFrame:
    """What would tell of each row that cannot be told of. Rows of one training would be tested too,
    once there are several."""
    of_answer = rows[rows["answer"] == CANNOT_TELL]
    num_single = int((of_answer["compared"] == ONE_TRAINING).sum())
    needs = {}
    for variant, row in of_answer.iterrows():
        if row["compared"] == THIS_CHECKPOINT:
            times = times_the_samples(row, max_loss, num_tested)
            needs[variant] = (times * row["num_samples"], np.nan)
        else:
            needed = seeds_needed(row, max_loss, num_tested + num_single)
            needs[variant] = (np.nan, needed - row["num_seeds"])
    columns = ["samples_needed", "trainings_needed"]
    return rows.join(pd.DataFrame.from_dict(needs, orient="index", columns=columns, dtype=float))


def _dominator(
    variant: str, costs: pd.Series, ratios: Ratios, best: list[str | None]
) -> str | None:
    """A row that costs no more and loses less, beyond the noise of this pair of rows: a
    recommended one if there is, or the cheapest."""
    names = costs.index[costs <= costs[variant]].drop(variant, errors="ignore")
    found = [name for name in names if ratios.is_larger(variant, name)]
    first = [name for name in best if name in found]
    return next(iter([*first, *sorted(found, key=costs.get)]), None)
