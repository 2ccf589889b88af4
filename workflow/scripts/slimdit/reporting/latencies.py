"""The latency of every row of a study, from that of one row and the ratios between rows."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from slimdit.reporting.columns import INTERVAL, OVER_BASE

LATENCY = "latency_ms"


def latencies(timed: pd.DataFrame) -> pd.DataFrame:
    """Of each row in ms, with its 95 % interval (low, high).

    timed: by variant its base, with which it was timed interleaved, its own latency in ms, and its
    ratio to the base's, with the ratio's interval.

    The latency of the row without a base is its own; that of any other is this one times the
    ratios on the way to it. Latencies of different processes are never compared: what slows a
    process down meets both sides of a ratio. The interval is relative to the row without a base,
    which has none; errors of the ratios' logs add up in squares. NaN where a ratio is missing.
    """
    logs = np.log(timed[[LATENCY, *(f"{OVER_BASE}{part}" for part in INTERVAL)]].astype(float))
    found = {}
    for variant in timed.index:
        *links, first = _way(variant, timed["base"])
        ratio, low, high = logs.loc[links].to_numpy()[:, 1:].T
        middle = logs[LATENCY].get(first, np.nan) + ratio.sum()
        below, above = np.linalg.norm(ratio - low), np.linalg.norm(high - ratio)
        found[variant] = np.exp([middle, middle - below, middle + above])
    columns = [f"{LATENCY}{part}" for part in INTERVAL]
    return pd.DataFrame.from_dict(found, orient="index", columns=columns)


def _way(variant: str, bases: pd.Series) -> Iterator[str]:
    """The row, its base, the base's, up to one that has none or was not timed, or comes again."""
    way: list[str] = []
    while pd.notna(variant) and variant not in way:
        way.append(variant)
        variant = bases.get(variant)
    yield from way
