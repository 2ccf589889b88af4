"""The models of the paper's study, with weights that hide no term."""

import torch

from slimdit.core.randomness import stream
from slimdit.models.build import build_model, compress
from slimdit.models.dit import DiT
from slimdit.study.load import configured_study

STUDY = configured_study(["configs/imagenet200.yaml"])
BATCH_SIZE = 8
HIDDEN_SIZE = STUDY.structure("S2-base")["hidden_size"]
STD = 0.02  # of weights that start at zero


def trained_model(variant: str) -> DiT:
    """The model that `variant` is derived from, or is."""
    model = build_model(STUDY.structure(variant), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                values = stream(0, f"benchmark/{name}").standard_normal(tuple(parameter.shape))
                parameter.copy_(STD * torch.from_numpy(values))
    return model


def made_model(variant: str, device: torch.device) -> DiT:
    """`variant` with its operations, ready for inference on the device."""
    return compress(trained_model(variant), STUDY.operations(variant)).to(device).eval()
