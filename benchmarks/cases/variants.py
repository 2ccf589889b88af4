"""Each cheaper variant against its base, both by the study's own path: compiled blocks."""

import functools

import torch
from models import BATCH_SIZE, made_model
from ratios import speedup

from slimdit.allocator import keep_freed_memory
from slimdit.precision import Precision
from slimdit.speed import compile_blocks, forward, random_inputs
from slimdit.stored_weights import store_for


def against_base(
    variant: str, precision: Precision, num_runs: int, device: torch.device, base: str = "S2-base"
) -> dict:
    """A forward pass of `variant` and of `base`."""
    keep_freed_memory()
    passes = []
    for name in (base, variant):
        model = made_model(name, device)
        store_for(precision, model)
        compile_blocks(model)
        inputs = random_inputs(model, BATCH_SIZE, device)
        passes.append(functools.partial(forward, model, inputs, precision.dtype))
    result = speedup(*passes, num_runs, device)
    return {
        "what": f"{variant} against {base} in {precision.name}, compiled blocks",
        "batch_size": BATCH_SIZE,
        "dtype": precision.name,
        **result,
    }
