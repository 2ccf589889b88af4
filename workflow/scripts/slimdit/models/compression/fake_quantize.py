"""Training that knows how a quantization will round: Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv:1712.05877.
"""

from typing import Literal

import torch
from torch import nn

from slimdit.models.compression.base import Compression


class FakeQuantize(Compression):
    """The layers that `quantization` takes, with weights, and for int8_dynamic inputs, that are
    rounded to int8 and back in every pass, by torchao's FakeQuantizedLinear; gradients go through
    as if they were not. The weights stay float: a quantization of the trained row stores them.

    Weights get int8_dynamic's own scales, one an output row. Inputs get one scale and one zero
    point a token; the quantization has no zero point, which torchao does not train with.
    """

    followers = ("int8_weight_only", "int8_dynamic")

    def __init__(self, quantization: Literal["int8_weight_only", "int8_dynamic"]):
        self.quantization = quantization

    def __call__(self, model: nn.Module) -> nn.Module:
        """Raises InputError for a model without layers to quantize."""
        # Only such variants pay for these imports.
        from torchao.quantization import quantize_
        from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig

        from slimdit.models.compression import COMPRESSION

        target = COMPRESSION.build({"name": self.quantization})
        layers = target.layers(model)
        config = QATConfig(
            activation_config=IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)
            if target.rounds_inputs
            else None,
            weight_config=IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True),
            step="prepare",
        )
        quantize_(model, config, filter_fn=lambda _, name: name in layers)
        return model
