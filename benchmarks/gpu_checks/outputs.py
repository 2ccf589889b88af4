"""What the models compute, eager and compiled, against a CPU in float32."""

import functools
from collections.abc import Iterator

import torch
from models import made_model
from ratios import difference
from torch import Tensor

from gpu_checks.bench import CPU, Bench, distinct, rounds_inputs, tolerance
from gpu_checks.check import Check
from slimdit.compute.precision import autocast, name_of
from slimdit.models.component import store_weights
from slimdit.profiling.latency import compile_blocks, random_inputs
from slimdit.profiling.modes import COMPILED, MODES

BATCH_SIZE = 2
DTYPES = (torch.float32, torch.bfloat16)


def checks(bench: Bench) -> Iterator[Check]:
    """Of every model of the study: any two kinds differ by more than the bounds."""
    study = bench.shallow

    @functools.cache
    def expected(variant: str) -> Tensor:
        model = made_model(study, variant, CPU)
        with torch.inference_mode():
            return model(*random_inputs(model, BATCH_SIZE, CPU)).output

    def measure(variant: str, mode: str) -> dict:
        model, found = bench.model(study, variant), {}
        inputs = random_inputs(model, BATCH_SIZE, bench.on)
        is_rounded = rounds_inputs(study, variant)
        reference = expected(study.trained_ancestor(variant) if is_rounded else variant)
        for dtype in DTYPES:
            store_weights(model, dtype)
            if mode == COMPILED:
                compile_blocks(model)
            with torch.inference_mode(), autocast(bench.on, dtype):
                output = model(*inputs).output.float().cpu()
            found[f"{name_of(dtype)}_difference"] = difference(reference, output)
        return found

    for mode in MODES:
        for variant in distinct(study):
            bounds = {
                f"{name_of(dtype)}_difference": tolerance(study, variant, dtype) for dtype in DTYPES
            }
            yield Check(f"{variant} {mode}", functools.partial(measure, variant, mode), bounds)
