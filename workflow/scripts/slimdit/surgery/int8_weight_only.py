"""Symmetric int8 weights, one scale an output row, activations as they are."""

from torch import nn


class Int8WeightOnly:
    """torchao's Int8WeightOnlyConfig on every linear layer.

    The weight is dequantized before each product: it saves memory, not arithmetic.
    """

    def __init__(self):
        # Only quantized variants pay for this import.
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        self.quantize = quantize_
        # Inductor's global flags stay as they are, so that other models compile alike.
        self.config = Int8WeightOnlyConfig(set_inductor_config=False)

    def __call__(self, model: nn.Module) -> nn.Module:
        self.quantize(model, self.config)
        return model
