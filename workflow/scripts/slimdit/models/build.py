"""Structures to models, and operations to what they make of them."""

from torch import nn

from slimdit.models.attention import ATTENTION
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.base import Compression
from slimdit.models.dit import DiT
from slimdit.models.initialization import initialize
from slimdit.models.mlp import MLP


def build_model(structure: dict, seed: int | None = None) -> DiT:
    """The model of a structure as `Study.structure` describes it.

    Weights are initialized from `seed`; without one they are left as they come, to be loaded.
    """
    structure = dict(structure)
    hidden_size, num_heads = structure["hidden_size"], structure.pop("num_heads")
    attention, mlp = structure.pop("attention"), dict(structure.pop("mlp"))
    every = mlp.pop("every", 1)

    def build_mlp(layer: int) -> nn.Module:
        own = mlp if layer % every == every - 1 else {"name": "dense"}
        return MLP.build(own, hidden_size)

    model = DiT(
        **structure,
        attention=lambda layer: ATTENTION.build(attention, hidden_size, num_heads),
        mlp=build_mlp,
    )
    if seed is not None:
        initialize(model, seed)
    return model


def build_operations(operations: list[dict]) -> list[Compression]:
    """The operations that the options name, with the libraries that they need imported."""
    return [COMPRESSION.build(options) for options in operations]


def apply_operations(model: DiT, operations: list[dict]) -> DiT:
    """Apply each operation to the model's weights, in order."""
    for operation in build_operations(operations):
        model = operation(model)
    return model
