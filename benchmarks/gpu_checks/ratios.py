"""The latency of each kind beside the base's, timed interleaved."""

import contextlib
import functools
import statistics
from collections.abc import Iterator

from gpu_checks.bench import Bench, kinds
from gpu_checks.check import Check
from slimdit.compute.precision import name_of
from slimdit.models.component import store_by_precision
from slimdit.profiling.latency import (
    clock_s,
    compiled,
    forward,
    interleaved_times_s,
    random_inputs,
)
from slimdit.profiling.modes import COMPILED, EAGER

BATCH_SIZES = (1, 64)
WARM_UP, TIMED = 5, 20  # rounds


def checks(bench: Bench) -> Iterator[Check]:
    """Last those that take longest: whole models, compiled to one graph."""
    study, precision = bench.study, bench.study.config["speed"]["precision"]
    base, *others = kinds(study)

    @functools.cache
    def stored(variant: str):
        model = bench.model(study, variant)
        return model, store_by_precision(model, precision, bench.on)

    def measure(variant: str, mode: str, batch_size: int) -> dict:
        pair = [stored(variant), stored(base)]
        inputs = random_inputs(pair[0][0], batch_size, bench.on)
        with contextlib.ExitStack() as stack:
            calls, compile_mode = [], None
            for model, dtype in pair:
                program = model
                if mode == COMPILED:
                    program, compile_mode = stack.enter_context(compiled(model, batch_size))
                calls.append(functools.partial(forward, program, inputs, dtype))
            clock = functools.partial(clock_s, bench.on)
            times_s = interleaved_times_s(calls, WARM_UP, bench.either(TIMED, 2), clock)
        return {
            "latency_ms": 1e3 * statistics.median(times_s[0]),
            "base_latency_ms": 1e3 * statistics.median(times_s[1]),
            "latency_over_base": statistics.median(
                own_s / base_s for own_s, base_s in zip(*times_s, strict=True)
            ),
            "dtype": name_of(pair[0][1]),
            "compile_mode": compile_mode,
        }

    few, many = bench.either(BATCH_SIZES, (1, 2))
    for mode, batch_size in ((EAGER, few), (EAGER, many), (COMPILED, many), (COMPILED, few)):
        for variant in others:
            measure_case = functools.partial(measure, variant, mode, batch_size)
            yield Check(f"{variant} {mode} {batch_size}", measure_case, {})
