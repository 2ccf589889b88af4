"""How a row's quality differs from its parent's, and whether that is more than chance.

Two kinds of difference are never mixed. A row made from its parent's weights is compared for this
checkpoint: what varies is the samples. A row that is trained on its own is compared over seeds,
each of its trainings with the parent's of the same seed: what varies is the training, far more.
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from slimdit.evaluation.metrics.uncertainty import jackknife_error

THIS_CHECKPOINT, OVER_SEEDS, ONE_TRAINING = "this checkpoint", "over seeds", "one training each"
LEVEL = 0.05  # of false marks among all rows of a metric, and outside of an interval
Estimate = tuple[float, float, int]  # difference, its standard error, degrees of freedom
NOTHING: Estimate = (np.nan, np.nan, 1)
UNKNOWN = {"whole": np.nan, "left_out": [], "drawn_from": None}  # of a file that does not say
PARTS = ("difference", "low", "high", "p", "significant")


def part_name(column: str, part: str) -> str:
    """The column of one of the PARTS of a difference."""
    return f"{column}_{part}"


def differences(quality: list[dict], about: pd.DataFrame, metrics: dict[str, str]) -> pd.DataFrame:
    """One row for each variant whose parent was evaluated too: `compared`, the kind, and the PARTS
    of each metric.

    quality: contents of quality.json files. about: by variant its parent and `derived_from`, the
    row that it is made from.
    metrics: columns of the table to their metrics' names in quality.json.
    difference: the row's value less its parent's; low, high: its 95 % interval; p: of a difference
    of 0, adjusted for the rows that are read together (Holm, "A simple sequentially rejective
    multiple test procedure", 1979); significant: p < 5 %. One training each gives none of them.
    """
    runs = {(run["variant"], run["seed"]): run for run in quality}
    ancestors = ancestors_of(about["derived_from"])
    kinds, estimates = {}, {column: {} for column in metrics}
    for variant, parent in about["parent"].items():
        seeds = [seed for name, seed in runs if name == variant and (parent, seed) in runs]
        if not seeds:
            continue
        pairs = [(runs[variant, seed], runs[parent, seed]) for seed in seeds]
        kinds[variant] = kind = kind_of(pairs, ancestors[variant] == ancestors[parent])
        for column, metric in metrics.items():
            estimates[column][variant] = estimate(pairs, metric, kind)
    found = [pd.Series(kinds, name="compared", dtype=object)]
    for column, each in estimates.items():
        found.append(_judged(each).rename(columns=partial(part_name, column)))
    return pd.concat(found, axis=1)


def ancestors_of(derived_from: pd.Series) -> pd.Series:
    """By variant the row whose training its weights come from: itself, or one it is made from."""
    sources = derived_from.dropna()

    def ancestor(variant: str) -> str:
        while variant in sources.index:
            variant = sources[variant]
        return variant

    return pd.Series({name: ancestor(name) for name in derived_from.index}, dtype=object)


def kind_of(pairs: list[tuple[dict, dict]], is_derived: bool) -> str:
    """How the two rows of the pairs, one pair a seed, are compared."""
    trainings = OVER_SEEDS if len(pairs) > 1 else ONE_TRAINING
    return THIS_CHECKPOINT if is_derived else trainings


def estimate(pairs: list[tuple[dict, dict]], metric: str, kind: str) -> Estimate:
    """Of the first of each pair less the second, contents of quality.json files of one seed."""
    of = _of_checkpoints if kind == THIS_CHECKPOINT else _over_seeds
    return of(pairs, metric)


def _of_checkpoints(pairs: list[tuple[dict, dict]], metric: str) -> Estimate:
    """Over other samples of these weights.

    Delete-group jackknife of the mean over the checkpoints, whose samples are of the same noise.
    Where image i is drawn alike in both rows, groups of pairs are left out of both, so that what
    they share cancels; else the errors of both rows add up in squares.
    """
    sides = [
        [run.get("jackknife", {}).get(metric, UNKNOWN) for run in side]
        for side in zip(*pairs, strict=True)
    ]
    lengths = {len(each["left_out"]) for side in sides for each in side}
    if len(lengths) > 1 or lengths == {0}:
        return NOTHING
    change = np.subtract(*([each["whole"] for each in side] for side in sides)).mean()
    left_out = [np.mean([each["left_out"] for each in side], axis=0) for side in sides]
    drawn_from, others = ([each["drawn_from"] for each in side] for side in sides)
    if drawn_from == others:
        error = jackknife_error(np.subtract(*left_out))
    else:
        error = np.hypot(*map(jackknife_error, left_out))
    return change, error, lengths.pop() - 1


def _over_seeds(pairs: list[tuple[dict, dict]], metric: str) -> Estimate:
    """Over other trainings, which differ by no less than other samples do: the error is at least
    theirs, also where the changes of a few seeds happen to be equal."""
    changes = [
        run["metrics"].get(metric, np.nan) - other["metrics"].get(metric, np.nan)
        for run, other in pairs
    ]
    if len(changes) == 1:
        return NOTHING
    of_samples = _of_checkpoints(pairs, metric)[1]
    error = np.fmax(np.std(changes, ddof=1) / np.sqrt(len(changes)), of_samples)
    return np.mean(changes), error, len(changes) - 1


def _judged(estimates: dict[str, Estimate]) -> pd.DataFrame:
    """The PARTS of the rows of a metric, from their estimates."""
    columns = ["difference", "error", "freedom"]
    found = pd.DataFrame.from_dict(estimates, orient="index", columns=columns).astype(float)
    margin = stdtrit(found["freedom"], 1 - LEVEL / 2) * found["error"]
    found["low"], found["high"] = found["difference"] - margin, found["difference"] + margin
    size = found["difference"].abs()
    ratio = (size / found["error"]).mask(size == 0, 0.0)
    p = 2 * pd.Series(stdtr(found["freedom"], -ratio), found.index)
    found["p"] = holm(p.where(found["error"].notna()))
    is_known = found["p"].notna()
    found["significant"] = (found["p"] < LEVEL).astype(object).where(is_known, np.nan)
    return found[list(PARTS)]


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted so that those below a level hold together at that level; NaN stay NaN."""
    ordered = p.dropna().sort_values()
    factors = np.arange(len(ordered), 0, -1)
    return (factors * ordered).cummax().clip(upper=1.0).reindex(p.index)
