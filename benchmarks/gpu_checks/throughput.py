"""Training steps a second, and how much of a step the host takes."""

import time
from collections.abc import Iterator
from functools import partial

import torch

from gpu_checks.bench import Bench, mixtures
from gpu_checks.check import Check
from gpu_checks.gradients import objective
from slimdit.compute.precision import name_of
from slimdit.profiling.latency import clock_s
from slimdit.study.study import Study
from slimdit.training.loop import Run
from slimdit.training.objective import TERMS

WARM_UP = 3  # steps


def checks(bench: Bench) -> Iterator[Check]:
    """Of the largest plain row, a mixture, and the smallest row."""
    study = bench.study
    plain = [variant for variant in study.trained if study.parent(variant) is None]
    for variant in (plain[0], mixtures(study)[0], plain[-1]):
        yield Check(variant, partial(throughput, bench, study, variant), {})


def throughput(bench: Bench, study: Study, variant: str) -> dict:
    """waits_ms: of a step, in which the main thread waits for what is drawn ahead; host_ms: until
    it has launched a step; draw_ms: what one thread takes to draw a batch."""
    batch_size = bench.either(study.training(variant)["batch_size"], 4)
    started_s = time.perf_counter()
    model, ours = objective(study, variant, batch_size, "auto", "on", bench.on)
    run, drawn, waited_s = Run(model, TERMS, 0.0, ours.hyper.ema_decay), ours.drawn, 0.0

    def timed(step: int) -> list[torch.Tensor]:
        nonlocal waited_s
        asked_s = time.perf_counter()
        tensors = drawn(step)
        waited_s += time.perf_counter() - asked_s
        return tensors

    def steps(count: int) -> None:
        for _ in range(count):
            run.update(*ours(run.step))

    steps(WARM_UP)
    clock_s(bench.on)
    compile_s = time.perf_counter() - started_s
    count, ours.drawn = bench.either(30, 2), timed
    if bench.on.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.on)
    started_s = clock_s(bench.on)
    steps(count)
    host_s = time.perf_counter() - started_s
    wall_s = clock_s(bench.on) - started_s
    memory = {}
    if bench.on.type == "cuda":
        memory["peak_memory_gib"] = torch.cuda.max_memory_allocated(bench.on) / 2**30
    started_s = time.perf_counter()
    ours.draw(run.step)
    return {
        "batch_size": batch_size,
        "dtype": name_of(ours.dtype),
        "steps_per_s": count / wall_s,
        "step_ms": 1e3 * wall_s / count,
        "host_ms": 1e3 * host_s / count,
        "waits_ms": 1e3 * waited_s / count,
        "draw_ms": 1e3 * (time.perf_counter() - started_s),
        "compile_s": compile_s,
        **memory,
    }
