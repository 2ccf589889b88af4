"""How much quality a row loses against the base, and whether that is inside a window.

The loss is the Fréchet distance over the base's, less one. It is tested by the rule of benchmarks
that accept a result within a few percent of a reference's quality, and then rank by speed (MLPerf
Inference, closed division: https://github.com/mlcommons/inference_policies); here the whole
interval of the loss should be inside.
"""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from slimdit.reporting.differences import (
    LEVEL,
    ONE_TRAINING,
    OVER_SEEDS,
    THIS_CHECKPOINT,
    estimate,
    kind_of,
)

METRIC = "fd"
MOST_SEEDS = 1000
MOST_TIMES_THE_SAMPLES = 1000
# How many times as far as other samples another training moves a distance; docs/metrics.md.
TRAININGS_OVER_SAMPLES = 5.0


class Ratios:
    """Of the distances of any two rows, from the contents of quality.json files.

    ancestors: by variant the one that was trained for it.
    """

    def __init__(self, quality: list[dict], ancestors: pd.Series):
        self.runs = {(run["variant"], run["seed"]): _logarithmic(run) for run in quality}
        self.ancestors = ancestors

    def pairs(self, variant: str, other: str) -> list[tuple[dict, dict]]:
        """Of a seed each."""
        seeds = [seed for name, seed in self.runs if name == variant]
        both = [seed for seed in seeds if (other, seed) in self.runs]
        return [(self.runs[variant, seed], self.runs[other, seed]) for seed in both]

    def kind(self, variant: str, other: str) -> str:
        is_derived = self.ancestors[variant] == self.ancestors[other]
        return kind_of(self.pairs(variant, other), is_derived)

    def is_larger(self, variant: str, other: str) -> bool:
        """Whether a row's distance is larger than another's beyond the noise of this pair, by its
        95 % interval."""
        if not (pairs := self.pairs(variant, other)):
            return False
        log_ratio, error, freedom = estimate(pairs, METRIC, self.kind(variant, other))
        return bool(log_ratio > stdtrit(freedom, 1 - LEVEL / 2) * error)


def losses(ratios: Ratios, base: str) -> pd.DataFrame:
    """By variant `compared`, the kind of comparison with the base, the logarithm `log_ratio` of its
    distance over the base's, its standard error and degrees of freedom, `sample_error`, what of it
    other samples of the same checkpoints make, and num_seeds."""
    found = {}
    for variant in ratios.ancestors.index:
        pairs = ratios.pairs(variant, base)
        if variant == base or not pairs:
            continue
        kind = ratios.kind(variant, base)
        log_ratio, error, freedom = estimate(pairs, METRIC, kind)
        if kind == ONE_TRAINING:
            log_ratio = np.subtract(*(run["metrics"][METRIC] for run in pairs[0]))
        sample_error = estimate(pairs, METRIC, THIS_CHECKPOINT)[1]
        found[variant] = (kind, log_ratio, error, freedom, sample_error, len(pairs))
    columns = ["compared", "log_ratio", "error", "freedom", "sample_error", "num_seeds"]
    return pd.DataFrame.from_dict(found, orient="index", columns=columns)


def with_intervals(losses: pd.DataFrame, num_tested: int) -> pd.DataFrame:
    """With `loss` and its interval `loss_low`, `loss_high`, as parts of the base's distance.

    Each end is at the level of 5 % divided by the number of rows that are tested (Bonferroni): with
    95 % confidence no row of these loses more than its `loss_high`, so that one may be chosen among
    those that pass. NaN where there is one training each.
    """
    margin = _quantile(losses["freedom"], num_tested) * losses["error"].astype(float)
    logs = losses["log_ratio"]
    ends = {"loss": logs, "loss_low": logs - margin, "loss_high": logs + margin}
    return losses.assign(**{name: np.expm1(end) for name, end in ends.items()})


def times_the_samples(row: pd.Series, max_loss: float, num_tested: int) -> float:
    """How many times as many samples the interval of a row needs to end at the window, were its
    loss as it was measured: it shrinks with the root of their number. inf: more than 1000."""
    times = (_quantile(row["freedom"], num_tested) * row["error"] / _gap(row, max_loss)) ** 2
    return times if times <= MOST_TIMES_THE_SAMPLES else np.inf


def seeds_needed(row: pd.Series, max_loss: float, num_tested: int) -> float:
    """Trainings of a row and of the base with which that would be so, by Student's t over the pairs
    of equal seed; inf: more than 1000.

    Their spread is that of the seeds that there are. One training has none: it is then taken for
    five times that of samples.
    """
    seeds = np.arange(2, MOST_SEEDS + 1)
    if row["compared"] == OVER_SEEDS:
        spread = row["error"] * np.sqrt(row["num_seeds"])
    else:
        spread = TRAININGS_OVER_SAMPLES * row["sample_error"]
    margins = _quantile(seeds - 1, num_tested) * spread / np.sqrt(seeds)
    enough = seeds[(margins <= _gap(row, max_loss)) & (seeds > row["num_seeds"])]
    return float(enough[0]) if len(enough) and np.isfinite(spread) else np.inf


def _logarithmic(run: dict) -> dict:
    """A run with the logarithm of the metric, whose differences are ratios of distances."""
    of_samples = run.get("jackknife", {}).get(METRIC)
    logs = {METRIC: float(_log(run["metrics"].get(METRIC)))}
    content = {"metrics": logs}
    if of_samples:
        left_out = _log(of_samples["left_out"])
        known = of_samples | {"whole": float(_log(of_samples["whole"])), "left_out": left_out}
        content["jackknife"] = {METRIC: known}
    return content


def _log(values) -> np.ndarray:
    """NaN where there is no value, or none that has a logarithm."""
    values = np.array(values, dtype=float)
    return np.log(values, where=values > 0, out=np.full_like(values, np.nan))


def _gap(row: pd.Series, max_loss: float) -> float:
    return max(abs(np.log1p(max_loss) - row["log_ratio"]), np.finfo(float).eps)


def _quantile(freedom, num_tested: int):
    return stdtrit(freedom, 1 - LEVEL / max(num_tested, 1))
