"""Each cheaper variant against its base, both by the study's own path: compiled blocks."""

import functools

import torch
from models import BATCH_SIZE, made_model
from ratios import speedup

from slimdit.compute.precision import name_of
from slimdit.models.component import store_weights
from slimdit.profiling.latency import compile_blocks, forward, random_inputs
from slimdit.study.study import Study

BASE = "S2-base"


def against_base(
    study: Study, variant: str, dtype: torch.dtype, num_runs: int, device: torch.device
) -> dict:
    """A forward pass of `variant` and of S2-base."""
    passes = []
    for name in (BASE, variant):
        model = made_model(study, name, device)
        store_weights(model, dtype)
        compile_blocks(model)
        inputs = random_inputs(model, BATCH_SIZE, device)
        passes.append(functools.partial(forward, model, inputs, dtype))
    result = speedup(*passes, num_runs, device)
    return {
        "what": f"{variant} against {BASE} in {name_of(dtype)}, compiled blocks",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        **result,
    }
