"""A model's weights as its products take them, converted once, for inference."""

import torch
from torch import nn

from slimdit.backbone import DiT
from slimdit.mlp.moe import MixtureOfExperts
from slimdit.precision import BFLOAT16X3, Precision
from slimdit.split_products import Halves, SplitLinear, load_kernel

# Layers whose weights autocast converts in every pass, and the experts, which do so themselves.
CONVERTED = (nn.Linear, nn.Conv2d, MixtureOfExperts)


def store_for(precision: Precision, model: DiT) -> None:
    """Convert the weights that would be converted in every pass: autocast gives the same bits.

    Quantized layers stay as they are, and routers, whose products are in float32; for bfloat16x3
    convolutions too.
    """
    routers = {mixture.gate for mixture in model.modules() if isinstance(mixture, MixtureOfExperts)}
    layers = {
        name: module
        for name, module in model.named_modules()
        if type(module) in CONVERTED and module not in routers
    }
    if precision == BFLOAT16X3:
        _split(model, layers)
    elif precision.dtype != torch.float32:
        for layer in layers.values():
            for parameter in layer.parameters(recurse=False):
                parameter.data = parameter.data.to(precision.dtype)


def _split(model: DiT, layers: dict[str, nn.Module]) -> None:
    load_kernel()
    for name, layer in layers.items():
        if isinstance(layer, nn.Linear) and layer.in_features % 2 == 0:
            model.set_submodule(name, SplitLinear(layer))
        elif isinstance(layer, MixtureOfExperts):
            for weight in ("weight1", "weight2"):
                halves = Halves(getattr(layer, weight).detach())
                delattr(layer, weight)
                setattr(layer, weight, halves)
