"""Structures to models, and compressions to what they make of them."""

from torch import nn
from torch.overrides import TorchFunctionMode

from slimdit.models.attention import ATTENTION
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.base import Loss
from slimdit.models.dit import DiT
from slimdit.models.initialization import initialize
from slimdit.models.mlp import MLP, mlp_of_layer


def build_model(structure: dict, seed: int | None = None) -> DiT:
    """The model of a structure as `Study.structure` describes it.

    Weights are initialized from `seed`; without one they are left as they come, to be loaded.
    Raises InputError for options that do not fit the structure.
    """
    sizes = dict(structure)
    num_heads, attention, mlp = (sizes.pop(key) for key in ("num_heads", "attention", "mlp"))
    hidden_size = sizes["hidden_size"]
    num_tokens = (sizes["input_size"] // sizes["patch_size"]) ** 2
    model = DiT(
        **sizes,
        attention=lambda _: ATTENTION.build(
            attention, hidden_size, num_heads, num_tokens=num_tokens
        ),
        mlp=lambda layer: MLP.build(mlp_of_layer(mlp, layer), hidden_size, num_tokens=num_tokens),
    )
    if seed is not None:
        initialize(model, seed)
    return model


def empty_model(structure: dict) -> DiT:
    """The model of a structure, on the CPU, with memory for its parameters and nothing in it.

    Values are neither drawn nor computed, but for buffers.
    """
    with _NothingDrawn():
        return build_model(structure)


class _NothingDrawn(TorchFunctionMode):
    """Within this context `torch.nn.init` leaves tensors as they are."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def compress(model: DiT, operations: list[dict], loss: Loss | None = None) -> DiT:
    """Apply each compression to the model's weights, in order.

    loss: for those that calibrate; without it they give the shapes alone, for weights to load.
    Raises InputError for options, or sizes of the model, that do not fit.
    """
    for options in operations:
        channels = [block.mlp.num_channels for block in model.blocks if block.mlp.num_channels]
        compression = COMPRESSION.build(
            options,
            num_heads=model.blocks[0].attention.num_heads,
            depth=len(model.blocks),
            num_tokens=model.grid_size**2,
            num_channels=min(channels, default=None),
        )
        compression.loss = loss
        model = compression(model)
    return model
