"""A model's weights in the type of its matrix multiplications, converted once, for inference."""

import torch
from torch import nn

from slimdit.models.dit import DiT
from slimdit.models.mlp.moe import MixtureOfExperts

# Layers whose weights autocast converts in every pass, and the experts, which do so themselves.
CONVERTED = (nn.Linear, nn.Conv2d, MixtureOfExperts)


def store_weights(model: DiT, dtype: torch.dtype) -> None:
    """Convert, in place, the weights that would be converted in every pass: the bits of autocast.

    Quantized layers stay as they are, and routers, whose logits are in float32.
    """
    if dtype == torch.float32:
        return
    routers = {mixture.gate for mixture in model.modules() if isinstance(mixture, MixtureOfExperts)}
    for module in model.modules():
        if type(module) in CONVERTED and module not in routers:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
