"""A mixture of experts against a loop over experts."""

import functools

import torch
from models import BATCH_SIZE, made_model
from plain.transformer import PlainTransformer
from ratios import difference, largest_difference, name_of, products_alone, speedup

from slimdit.cost import count_macs
from slimdit.precision import autocast, store_for
from slimdit.speed import compile_blocks, forward, random_inputs


@torch.inference_mode()
def mixture(dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """A forward pass of MoE-S2-8E2A in `dtype`, against the loop in float32.

    The float32 outputs are compared first.
    """
    model = made_model("MoE-S2-8E2A", device)
    reference, macs = PlainTransformer(model), count_macs(model)
    inputs = random_inputs(model, BATCH_SIZE, device)
    expected = reference(*inputs)
    equal = largest_difference([expected], [model(*inputs).output])
    store_for(dtype, model)
    compile_blocks(model)
    with autocast(device, dtype):
        error = difference(expected, model(*inputs).output)
    ours = functools.partial(forward, model, inputs, dtype)
    result = speedup(lambda: reference(*inputs), ours, num_runs, device)
    torch.compiler.reset()
    return {
        "what": f"MoE-S2-8E2A in {name_of(dtype)} against a loop over experts",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        "largest_difference": error,
        "largest_difference_in_float32": equal,
        **result,
        **products_alone(BATCH_SIZE * macs, dtype, device, result["reference_s"]),
    }
