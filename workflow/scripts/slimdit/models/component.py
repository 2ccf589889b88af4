"""What the model's other rooms may ask of a block's attention and MLP, whichever they are."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import nn

from slimdit.compute.precision import chosen_dtype

AUTOCAST_LAYERS = (nn.Linear, nn.Conv2d)


class Component(nn.Module):
    """The attention or the MLP of a block; a component overrides what does not hold for it."""

    def token_layers(self) -> Iterator[tuple[str, nn.Linear]]:
        """The linear layers that every token goes through, with their names in the component."""
        return linear_layers(self)

    def idle_params(self) -> int:
        """How many parameters a token does not meet."""
        return 0

    def autocast_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that autocast, or the component, converts in every pass."""
        return autocast_parameters(self)


class Attention(Component):
    """(B, N, C) -> (B, N, C).

    An attention whose heads can be removed one by one declares where they lie: `head_outputs` names
    the linear layers whose outputs are (packed, num_heads, head_dim), each with how many are packed
    in it, and `head_inputs` those whose inputs are (num_heads, head_dim).
    """

    head_outputs: ClassVar[dict[str, int]] = {}
    head_inputs: ClassVar[tuple[str, ...]] = ()

    num_heads: int
    head_dim: int


class Mlp(Component):
    """(B, N, C) -> (B, N, C), and where the tokens were routed, None where they are not.

    An MLP whose channels can be removed one by one declares where they lie: `channel_outputs` names
    the linear layers whose outputs are (packed, num_channels), each with how many are packed in it,
    and `channel_inputs` those whose inputs are (num_channels,).
    """

    channel_outputs: ClassVar[dict[str, int]] = {}
    channel_inputs: ClassVar[tuple[str, ...]] = ()

    routes_tokens = False
    is_dense = False

    def rebalance(self, load: torch.Tensor) -> None:
        """After a step of a training: the load of its experts in the whole batch, (E,)."""

    @property
    def num_channels(self) -> int | None:
        """How many can be removed one by one; None where none can."""
        return None


def fake_quantized_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """torchao's layers that round as a quantization would; `to_linear()` gives the plain one."""
    return {name: each for name, each in linear_layers(module) if hasattr(each, "to_linear")}


def linear_layers(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, each) for name, each in module.named_modules() if isinstance(each, nn.Linear))


def autocast_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """Of the module's linear layers and convolutions, and what its components say of themselves.

    Quantized layers are of a type of their own: they stay as they are.
    """
    if type(module) in AUTOCAST_LAYERS:
        yield from module.parameters(recurse=False)
    for child in module.children():
        is_component = isinstance(child, Component)
        yield from child.autocast_parameters() if is_component else autocast_parameters(child)


def store_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert, in place, the weights that would be converted in every pass: the bits of autocast.

    Quantized layers stay as they are.
    """
    if dtype != torch.float32:
        for parameter in autocast_parameters(model):
            parameter.data = parameter.data.to(dtype)


def store_by_precision(model: nn.Module, precision: str, device: torch.device) -> torch.dtype:
    """`store_weights` of a DiT in the type that `chosen_dtype` reads from `precision`: returned."""
    dtype = chosen_dtype(precision, model.hidden_size, device)
    store_weights(model, dtype)
    return dtype
