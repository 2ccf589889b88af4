"""Mistakes that a change might make, each put into the library for one case, and what is then said
of it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import torch

from fake_cuda.cases import Case, infer, report, train
from slimdit.data.latents import LatentBatches
from slimdit.models import ops
from slimdit.models.dit import DiT
from slimdit.training import objective

TRAINING, INFERENCE = Case(train, "photos", "S2-base"), Case(infer, "photos", "S2-base")
MIXTURE = Case(infer, "photos", "MoE-S2-8E2A")
ELSEWHERE = "to be on the same device"


class Mistake(NamedTuple):
    """In `case`, `owner.name` is replaced by `changed` of it; `said` is within what is reported."""

    case: Case
    owner: object
    name: str
    changed: Callable
    said: str


def counting(conditioned):
    def method(model, x, c):
        return conditioned(model, x + torch.arange(x.shape[-1]), c)

    return method


def reading(losses):
    def method(*args):
        terms, loads = losses(*args)
        return terms * terms[0].item(), loads

    return method


def left_on_cpu(latents):
    def method(*args):
        x0, labels = latents(*args)
        return x0, torch.zeros(len(labels), dtype=labels.dtype)

    return method


def masking(conditioned):
    def method(model, x, c):
        return conditioned(model, x + x[x.isnan()].sum(), c)

    return method


def not_pinning(on_host):
    return lambda array, device: torch.from_numpy(array)


def on_the_host(grouped_kernel):
    return lambda x: ops.segment_matmul


MISTAKES = {
    "range": Mistake(INFERENCE, DiT, "conditioned", counting, ELSEWHERE),
    "labels": Mistake(TRAINING, LatentBatches, "latents", left_on_cpu, ELSEWHERE),
    "item": Mistake(TRAINING, objective.Objective, "losses", reading, "_local_scalar_dense"),
    "mask": Mistake(INFERENCE, DiT, "conditioned", masking, "counts what a mask selects"),
    "memory": Mistake(TRAINING, objective, "on_host", not_pinning, "copies from the CPU"),
    "kernel": Mistake(MIXTURE, ops, "grouped_kernel", on_the_host, "segment_matmul"),
}


def reports() -> Iterator[tuple[str, dict]]:
    for name, mistake in MISTAKES.items():
        changed = mistake.changed(getattr(mistake.owner, mistake.name))
        with mock.patch.object(mistake.owner, mistake.name, changed):
            yield name, report(mistake.case)
