"""A mixture of experts against a loop over experts."""

import torch
from models import BATCH_SIZE, made_model
from plain.transformer import PlainTransformer
from ratios import largest_difference, speedup

from slimdit.speed import compile_blocks, random_inputs


@torch.inference_mode()
def mixture(num_runs: int, device: torch.device) -> dict:
    """A forward pass of MoE-S2-8E2A."""
    model = made_model("MoE-S2-8E2A", device)
    reference = PlainTransformer(model)
    compile_blocks(model)
    inputs = random_inputs(model, BATCH_SIZE, device)
    difference = largest_difference([reference(*inputs)], [model(*inputs).output])
    result = speedup(lambda: reference(*inputs), lambda: model(*inputs), num_runs, device)
    torch.compiler.reset()
    return {
        "what": "MoE-S2-8E2A against a loop over experts",
        "batch_size": BATCH_SIZE,
        "largest_difference": difference,
        **result,
    }
