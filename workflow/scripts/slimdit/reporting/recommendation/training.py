"""What has to be trained for each row of a study."""

import statistics
from collections.abc import Iterator

import numpy as np
import pandas as pd

from slimdit.diffusion.guides import INPUT
from slimdit.reporting.results import StudyResults

SECONDS_AN_HOUR = 3600.0


def training_hours(study: StudyResults, ancestors: pd.Series, base: str) -> pd.Series:
    """By variant the hours that its trainings take beyond the base's, once: of its weights, of
    those that this training began with, of the teacher that it had, and of the model that guides
    its sampling. NaN: not known."""
    walls_s, teachers = {}, {}
    for run in study.training:
        walls_s.setdefault(run["variant"], []).append(run.get("wall_s", np.nan))
        settings = run["origin"].get("recipe", {}).get("settings", {})
        teachers[run["variant"]] = settings.get("distill", {}).get("teacher")
    guides = {run["variant"]: run.get("sampling", {}).get("guide") for run in study.quality}
    first = study.table["trained_from"].dropna()

    def trained(variant: str) -> Iterator[str]:
        yield (own := ancestors.get(variant, variant))
        for other in (first.get(own), teachers.get(own), guides.get(variant)):
            if other and other not in (own, INPUT):
                yield from trained(other)

    def hours(variant: str) -> float:
        needed = {*trained(variant)} - {base}
        each = (statistics.median(walls_s.get(name, [np.nan])) for name in needed)
        return sum(each, 0.0) / SECONDS_AN_HOUR

    return pd.Series({name: hours(name) for name in study.table.index}, dtype=float)
