"""A mixture of experts against a loop over experts."""

import torch
from models import BATCH_SIZE, made_model
from plain.transformer import PlainTransformer
from ratios import products_alone, speedup_apart, tolerance_of
from sides import Side

from slimdit.cost import count_macs
from slimdit.dtypes import autocast
from slimdit.precision import Precision
from slimdit.speed import compile_blocks, random_inputs
from slimdit.stored_weights import store_for

VARIANT = "MoE-S2-8E2A"


def mixture(precision: Precision, num_runs: int, device: torch.device) -> dict:
    """A forward pass of MoE-S2-8E2A in `precision`, against the loop in float32."""
    result = speedup_apart(
        Side(plain_pass, device, is_job=False),
        Side(compiled_pass, precision, device, is_job=True),
        num_runs,
        tolerance_of(precision),
    )
    macs = BATCH_SIZE * count_macs(made_model(VARIANT, device))
    return {
        "what": f"{VARIANT} in {precision.name} against a loop over experts in float32",
        "batch_size": BATCH_SIZE,
        "dtype": precision.name,
        **result,
        **products_alone(macs, precision, device, result["reference_s"]),
    }


def plain_pass(device: torch.device):
    model = made_model(VARIANT, device)
    reference, inputs = PlainTransformer(model), random_inputs(model, BATCH_SIZE, device)
    return torch.inference_mode()(lambda: [reference(*inputs)])


def compiled_pass(precision: Precision, device: torch.device):
    model = made_model(VARIANT, device)
    inputs = random_inputs(model, BATCH_SIZE, device)
    store_for(precision, model)
    compile_blocks(model)

    @torch.inference_mode()
    def run():
        with autocast(device, precision.dtype):
            return [model(*inputs).output]

    return run
