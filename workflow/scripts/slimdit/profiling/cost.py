"""What a model costs on paper: parameters, multiply-accumulates, bytes."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from slimdit.models import ops
from slimdit.models.checkpoint import flat_tensors, is_plain
from slimdit.models.component import Component, fake_quantized_layers
from slimdit.models.dit import DiT
from slimdit.profiling.latency import random_inputs


def total_params(model: nn.Module) -> int:
    """All parameters, the frozen position table among them, as published counts have it."""
    return sum(parameter.numel() for parameter in model.parameters())


def active_params(model: nn.Module) -> int:
    """Total less those that a token does not meet, such as experts that it does not visit."""
    components = (each for each in model.modules() if isinstance(each, Component))
    return total_params(model) - sum(component.idle_params() for component in components)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the stored tensors, without the file's header."""
    return sum(t.numel() * t.element_size() for t in flat_tensors(model).values())


@torch.no_grad()
def count_macs(model: DiT, passed: Callable[..., Tensor] | None = None) -> int:
    """Multiply-accumulates of one forward pass of one image, or of `passed` in its place, a
    function of a latent, a timestep and a class that computes with the model.

    fvcore's count (4 per element for a layer norm without affine, 1 per element pooled, none for
    softmax and GELU), of the plain form of fused operators, which it does not see. Bits do not
    count: a quantized multiplication is one.
    """
    inputs = random_inputs(model, 1, next(model.parameters()).device)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with ops.plain(), _plain_layers(model):
        analysis = FlopCountAnalysis(_OutputOnly(model.eval(), passed), inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.tracer_warnings("none").total())


class _OutputOnly(nn.Module):
    """Tracing needs a tensor out."""

    def __init__(self, model: DiT, passed: Callable[..., Tensor] | None):
        super().__init__()
        self.model, self.passed = model, passed

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.passed(x, t, y) if self.passed else self.model(x, t, y).output


@contextlib.contextmanager
def _plain_layers(model: DiT) -> Iterator[None]:
    """Within this context weights are plain, which any device multiplies, and no layer rounds."""
    fake = fake_quantized_layers(model)
    layers = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    weights = {layer: layer.weight for layer in layers if not is_plain(layer.weight)}
    try:
        for name, layer in fake.items():
            model.set_submodule(name, layer.to_linear())
        for layer, weight in weights.items():
            plain = torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)
            layer.weight = nn.Parameter(plain, requires_grad=False)
        yield
    finally:
        for layer, weight in weights.items():
            layer.weight = weight
        for name, layer in fake.items():
            model.set_submodule(name, layer)
