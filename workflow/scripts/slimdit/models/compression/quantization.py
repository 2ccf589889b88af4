"""Linear layers with torchao's weights, of fewer bits: Or et al., "TorchAO: PyTorch-Native
Training-to-Serving Model Optimization", arXiv:2507.16099.
"""

import importlib.util
from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast, AtMost
from slimdit.models import ops
from slimdit.models.component import Component, fake_quantized_layers, linear_layers
from slimdit.models.compression.base import Compression

FP8_CAPABILITY = (8, 9)  # of a GPU
LEAST_INT8_ROWS = 16  # that the kernel of int8 times int8 asks for is one more
SMALLEST_PEAK = 1e-12  # of a row in float8: one of zeros alone would have the scale 0


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
        return self.product(x.to(dtype), bias).to(around)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """As torchao does it."""
        return F.linear(x, self.weight, bias)


class DequantizedLinear(QuantizedLinear):
    """Of int8 weights: on a GPU torchao's own multiplication by them becomes, compiled, a kernel of
    one thread an output."""

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return self.dequantized(x, bias) if x.is_cuda else super().product(x, bias)

    def dequantized(self, x: Tensor, bias: Tensor | None) -> Tensor:
        weight = self.weight.qdata.to(x.dtype) * self.weight.scale.to(x.dtype).reshape(-1, 1)
        return F.linear(x, weight, bias)


class Int8Linear(QuantizedLinear):
    """Of int8 weights and inputs: on a GPU torchao's own, not compiled, formats its inputs as text,
    for which the host waits, and copies its weight."""

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        num_rows = x.numel() // x.shape[-1]
        takes = x.is_cuda and num_rows > LEAST_INT8_ROWS
        return self.multiplied(x, bias) if takes else super().product(x, bias)

    def multiplied(self, x: Tensor, bias: Tensor | None) -> Tensor:
        weight = self.weight
        rows = type(weight).from_hp(x.flatten(0, -2), weight.act_quant_kwargs.granularity)
        product = torch._int_mm(rows.qdata, weight.qdata.t()) * rows.scale * weight.scale.flatten()
        product = product.to(x.dtype).unflatten(0, x.shape[:-1])
        return product if bias is None else product + bias


class Quantization(Compression):
    """A configuration of torchao's, named by `configuration`, on the layers that `takes` says.

    Args:
        keep_float: the fraction of these layers that a measurement adds to `float_layers`: those
            whose quantization changes predictions most. Until then it says nothing.
        float_layers: names of linear layers that stay as they are, such as blocks.0.mlp.fc1.
    """

    configuration: str
    layer = QuantizedLinear
    dtype: torch.dtype | None = None  # of the multiplications; None: of their inputs
    rounds_inputs = False
    followers = ()
    measured = "keep_float"

    def __init__(
        self,
        keep_float: Annotated[float, AtLeast(0), AtMost(1)] = 0.0,
        float_layers: list[str] | None = None,
    ):
        self.keep_float, self.float_layers = keep_float, float_layers or []
        self.prepare()

    def prepare(self) -> None:
        """What of torchao's is needed."""
        # Only quantized variants pay for this import.
        from torchao import quantization

        # Inductor's global flags stay as they are, so that other models compile alike.
        self.config = getattr(quantization, self.configuration)(set_inductor_config=False)
        self.quantize_ = quantization.quantize_

    def __call__(self, model: nn.Module) -> nn.Module:
        """Raises InputError for a model without layers to quantize, or one that `float_layers`
        names."""
        layers, every = self.layers(model), dict(linear_layers(model))
        if unknown := [name for name in self.float_layers if name not in every]:
            raise InputError(
                f"{type(self).__name__}: float_layers names {unknown[0]!r}; it should be a linear "
                f"layer of the model, such as {next(iter(layers))}."
            )
        for name, layer in fake_quantized_layers(model).items():
            model.set_submodule(name, layer.to_linear())
        for name, layer in layers.items():
            if name not in self.float_layers:
                model.set_submodule(name, self.quantized(layer))
        return model

    def layers(self, model: nn.Module) -> dict[str, nn.Linear]:
        """All that it can quantize, by name; raises InputError where there is none."""
        layers = {name: layer for name, layer in self.candidates(model) if self.takes(layer)}
        if not layers:
            raise InputError(
                f"{type(self).__name__} finds no linear layer whose sizes it can take; "
                f"hidden_size should be a multiple of {self.multiple_of}."
            )
        return layers

    def quantized(self, layer: nn.Linear) -> QuantizedLinear:
        """In the place of `layer`, whose weight is replaced."""
        self.quantize(layer)
        return self.layer(layer, self.dtype)

    def candidates(self, model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
        """The layers that are meant, with their names: all linear layers."""
        return linear_layers(model)

    def takes(self, layer: nn.Linear) -> bool:
        """Whether a layer's sizes, both multiples of `multiple_of`, are those of a kernel."""
        return not any(size % self.multiple_of for size in layer.weight.shape)

    def quantize(self, layer: nn.Linear) -> None:
        """Replace the layer's weight."""
        self.quantize_(layer, self.config)


class Int8WeightOnly(Quantization):
    """torchao's Int8WeightOnlyConfig on every linear layer of more than one input: symmetric int8
    weights, one scale an output row, activations as they are.

    The weight is dequantized before each multiplication: it saves memory, not arithmetic.
    """

    configuration = "Int8WeightOnlyConfig"
    layer = DequantizedLinear

    def takes(self, layer: nn.Linear) -> bool:
        return layer.in_features > 1  # torchao takes a column for a group of its own


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


class Int8Dynamic(TokenQuantization):
    """torchao's Int8DynamicActivationInt8WeightConfig where every token goes through: int8 times
    int8, one scale a row of the weight, one a token of the input. The vector-wise scheme of
    Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
    arXiv:2208.07339.
    """

    configuration = "Int8DynamicActivationInt8WeightConfig"
    layer = Int8Linear
    rounds_inputs = True
    multiple_of = 8


class Fp8Dynamic(TokenQuantization):
    """What torchao's Float8DynamicActivationFloat8WeightConfig by rows makes of a layer: float8
    times float8 (Micikevicius et al., "FP8 Formats for Deep Learning", arXiv:2209.05433), one scale
    a row of the weight, one a token of the input.

    That configuration asks for a GPU where weights are only made; they are made by hand here. On
    a CPU the results are right, but not fast.
    """

    multiple_of = 16
    dtype = torch.bfloat16  # the only one that row-wise kernels return on every GPU

    def prepare(self) -> None:
        # Only quantized variants pay for these imports.
        from torchao.quantization import Float8MMConfig, Float8Tensor, PerRow
        from torchao.quantization.quantize_.common import KernelPreference
        from torchao.quantization.quantize_.workflows import QuantizeTensorToFloat8Kwargs

        self.float8 = Float8Tensor.from_hp
        # torch's own kernels, whatever other libraries are installed: rows stay comparable.
        shared = {"granularity": PerRow(), "kernel_preference": KernelPreference.TORCH}
        shared["hp_value_lb"] = SMALLEST_PEAK
        self.options = {
            "mm_config": Float8MMConfig(use_fast_accum=True),
            "act_quant_kwargs": QuantizeTensorToFloat8Kwargs(**shared),
            **shared,
        }

    def quantize(self, layer: nn.Linear) -> None:
        weight = self.float8(layer.weight.detach().to(self.dtype), **self.options)
        layer.weight = nn.Parameter(weight, requires_grad=False)

    def unsupported(self, device: torch.device) -> str | None:
        if device.type != "cuda" or torch.cuda.get_device_capability(device) >= FP8_CAPABILITY:
            return None
        major, minor = torch.cuda.get_device_capability(device)
        return (
            f"needs a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell); "
            f"{torch.cuda.get_device_name(device)} has {major}.{minor}"
        )


class Int4WeightOnly(TokenQuantization):
    """torchao's Int4WeightOnlyConfig where every token goes through: int4 weights with a scale and
    a zero for every 128 inputs, activations in bfloat16. It saves memory, not arithmetic.

    Raises InputError where the library of its kernels is not installed.
    """

    configuration = "Int4WeightOnlyConfig"
    multiple_of = 16
    dtype = torch.bfloat16

    def prepare(self) -> None:
        if importlib.util.find_spec("mslk") is None:
            raise InputError(
                "int4_weight_only needs the package mslk, which is not installed; "
                "install the release for this torch that https://github.com/meta-pytorch/MSLK "
                "names, or leave its row out of the config."
            )
        super().prepare()

    def takes(self, layer: nn.Linear) -> bool:
        return super().takes(layer) and layer.in_features % self.config.group_size == 0

    def quantize(self, layer: nn.Linear) -> None:
        layer.weight = nn.Parameter(layer.weight.detach().to(self.dtype), requires_grad=False)
        super().quantize(layer)

    def unsupported(self, device: torch.device) -> str | None:
        return None if device.type == "cuda" else "needs a CUDA GPU"
