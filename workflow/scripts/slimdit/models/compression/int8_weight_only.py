"""Symmetric int8 weights, one scale an output row, activations as they are."""

from torch import nn

from slimdit.models.compression.quantization import Quantization


class Int8WeightOnly(Quantization):
    """torchao's Int8WeightOnlyConfig on every linear layer of more than one input.

    The weight is dequantized before each multiplication: it saves memory, not arithmetic.
    """

    configuration = "Int8WeightOnlyConfig"

    def takes(self, layer: nn.Linear) -> bool:
        return layer.in_features > 1  # torchao takes a column for a group of its own
