"""A mixture of experts against a loop over experts."""

import torch
from models import BATCH_SIZE, made_model
from plain.transformer import PlainTransformer
from ratios import matmuls_alone, speedup_apart, tolerance_of
from sides import Side

from slimdit.compute.precision import autocast, name_of
from slimdit.models.component import store_weights
from slimdit.profiling.cost import count_macs
from slimdit.profiling.latency import compile_blocks, random_inputs
from slimdit.study.study import Study

VARIANT = "MoE-S2-8E2A"


def mixture(study: Study, dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """A forward pass of MoE-S2-8E2A in `dtype`, against the loop in float32."""
    result = speedup_apart(
        Side(plain_pass, study, device),
        Side(compiled_pass, study, dtype, device),
        num_runs,
        tolerance_of(dtype),
    )
    macs = BATCH_SIZE * count_macs(made_model(study, VARIANT, device))
    return {
        "what": f"{VARIANT} in {name_of(dtype)} against a loop over experts in float32",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        **result,
        **matmuls_alone(macs, dtype, device, result["reference_s"]),
    }


def plain_pass(study: Study, device: torch.device):
    model = made_model(study, VARIANT, device)
    reference, inputs = PlainTransformer(model), random_inputs(model, BATCH_SIZE, device)
    return torch.inference_mode()(lambda: [reference(*inputs)])


def compiled_pass(study: Study, dtype: torch.dtype, device: torch.device):
    model = made_model(study, VARIANT, device)
    inputs = random_inputs(model, BATCH_SIZE, device)
    store_weights(model, dtype)
    compile_blocks(model)

    @torch.inference_mode()
    def run():
        with autocast(device, dtype):
            return [model(*inputs).output]

    return run
