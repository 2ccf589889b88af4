"""Which timed models took much longer than their work explains, and should be timed again."""

import functools
import json
from collections import defaultdict

from slimdit.core.canonical import canonical_json
from slimdit.plan.clock import Timed
from slimdit.plan.work import Timing

TIMES = 5  # the time of a multiply-accumulate, from which on a model is slower than others are
OF_MODELS = ("train", "denoise", "forward")
TRAINED = 3  # passes' worth of a step's work, the one back counting twice


def outliers(timed: dict[str, tuple[Timing, Timed]]) -> list[str]:
    """Keys of those that took more than TIMES as long, for one multiply-accumulate, as the fastest
    model of which the same was timed.

    Small models may be such by right; a moment in which a machine was slow makes any of them one.
    """
    by_what = defaultdict(dict)
    for key, (timing, found) in timed.items():
        if timing.what in OF_MODELS and found.wall_s is not None:
            by_what[timing.what][key] = found.wall_s / found.batch_size / macs(timing)
    return [
        key
        for its in by_what.values()
        for key, mac_s in its.items()
        if mac_s > TIMES * min(its.values())
    ]


def macs(timing: Timing) -> int:
    """Multiply-accumulates for one image, without what operations on a trained model save."""
    own, teacher = _pass_macs(timing.of["structure"]), timing.of.get("teacher")
    if timing.what != "train":
        return own
    return TRAINED * own + (_pass_macs(teacher) if teacher else 0)


def _pass_macs(structure: dict) -> int:
    return _counted(canonical_json(structure))


@functools.cache
def _counted(structure: str) -> int:
    import torch

    from slimdit.models.build import build_model
    from slimdit.profiling.cost import count_macs

    with torch.device("meta"):
        model = build_model(json.loads(structure))
    return count_macs(model.to_empty(device="cpu"))
