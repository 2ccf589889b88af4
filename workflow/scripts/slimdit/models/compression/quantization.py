"""Linear layers with torchao's weights, of fewer bits: Or et al., "TorchAO: PyTorch-Native
Training-to-Serving Model Optimization", arXiv:2507.16099.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.models import ops
from slimdit.models.component import Component, linear_layers
from slimdit.models.compression.base import Compression


class QuantizedLinear(nn.Linear):
    """`linear`, whose weight is torchao's, computed in `dtype`, or else in that of its inputs.

    Autocast does not see torchao's multiplications: what it would cast is cast here.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype | None):
        has_bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, has_bias, device="meta")
        self.weight, self.bias, self.dtype = linear.weight, linear.bias, dtype

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in_features) -> (..., out_features)."""
        around = ops.autocast_dtype(x)
        dtype = self.dtype or around
        bias = None if self.bias is None else self.bias.to(dtype)
        return F.linear(x.to(dtype), self.weight, bias).to(around)


class Quantization(Compression):
    """A configuration of torchao's, named by `configuration`, on the layers that `takes` says.

    It has no options and needs no data. Raises InputError for a model without such layers.
    """

    configuration: str
    dtype: torch.dtype | None = None  # of the multiplications; None: of their inputs
    is_last = True

    def __init__(self):
        # Only quantized variants pay for this import.
        from torchao import quantization

        # Inductor's global flags stay as they are, so that other models compile alike.
        self.config = getattr(quantization, self.configuration)(set_inductor_config=False)
        self.quantize_ = quantization.quantize_

    def __call__(self, model: nn.Module) -> nn.Module:
        layers = {name: layer for name, layer in self.candidates(model) if self.takes(layer)}
        if not layers:
            raise InputError(
                f"{type(self).__name__} finds no linear layer whose sizes it can take; "
                f"hidden_size should be a multiple of {self.multiple_of}."
            )
        for name, layer in layers.items():
            self.quantize(layer)
            model.set_submodule(name, QuantizedLinear(layer, self.dtype))
        return model

    def candidates(self, model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
        """The layers that are meant, with their names: all linear layers."""
        return linear_layers(model)

    def takes(self, layer: nn.Linear) -> bool:
        """Whether a layer's sizes, both multiples of `multiple_of`, are those of a kernel."""
        return not any(size % self.multiple_of for size in layer.weight.shape)

    def quantize(self, layer: nn.Linear) -> None:
        """Replace the layer's weight."""
        self.quantize_(layer, self.config)


class TokenQuantization(Quantization):
    """On the layers that every token goes through, as the blocks' components name them.

    All other linear layers are a fraction of a percent of the arithmetic, with few rows or few
    columns: nothing that pays for rounding inputs.
    """

    def candidates(self, model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
        for prefix, component in model.named_modules():
            if isinstance(component, Component):
                for name, layer in component.token_layers():
                    yield f"{prefix}.{name}", layer
