"""int4 weights with a scale and a zero for every 128 inputs, activations in bfloat16."""

import importlib.util

import torch
from torch import nn

from slimdit.core.errors import InputError
from slimdit.models.compression.quantization import TokenQuantization


class Int4WeightOnly(TokenQuantization):
    """torchao's Int4WeightOnlyConfig where every token goes through; saves memory, not arithmetic.

    Raises InputError where the library of its kernels is not installed.
    """

    configuration = "Int4WeightOnlyConfig"
    multiple_of = 16
    dtype = torch.bfloat16

    def __init__(self):
        if importlib.util.find_spec("mslk") is None:
            raise InputError(
                "int4_weight_only needs the package mslk, which is not installed; "
                "install the release for this torch that https://github.com/meta-pytorch/MSLK "
                "names, or leave its row out of the config."
            )
        super().__init__()

    def takes(self, layer: nn.Linear) -> bool:
        return super().takes(layer) and layer.in_features % self.config.group_size == 0

    def quantize(self, layer: nn.Linear) -> None:
        layer.weight = nn.Parameter(layer.weight.detach().to(self.dtype), requires_grad=False)
        super().quantize(layer)

    def unsupported(self, device: torch.device) -> str | None:
        return None if device.type == "cuda" else "needs a CUDA GPU"
