"""Whole blocks removed: evenly, by name, or one after the other by what the loss does.

Even spacing is the baseline that importance scores rarely beat: Fang et al., "TinyFusion: Diffusion
Transformers Learned Shallow", arXiv:2412.01199.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from torch import nn

from slimdit.core.options import AtLeast, AtMost, OneOf
from slimdit.models.compression.base import Compression, Loss, linear_of


def evenly(count: int, depth: int) -> list[int]:
    """So many of the numbers below `depth`, the first and the last among them, evenly spread."""
    return np.rint(np.linspace(0, depth - 1, count)).astype(int).tolist()


def least_damaging(model: nn.Module, count: int, loss: Loss) -> list[int]:
    """The blocks that stay where those go, one after the other, without which the loss of what is
    left is least."""
    whole, kept = model.blocks, list(range(len(model.blocks)))
    sizes, modulation = model.modulation_sizes, model.modulation[1]

    def loss_of(blocks: list[int]) -> float:
        keep(model, blocks)
        value = loss(model)
        model.blocks, model.modulation_sizes, model.modulation[1] = whole, sizes, modulation
        return value

    while len(kept) > count:
        fewer = [[each for each in kept if each != gone] for gone in kept]
        kept = min(fewer, key=loss_of)
    return kept


def keep(model: nn.Module, blocks: list[int]) -> None:
    """Leave only these blocks, in their order, and what modulates them."""
    modulation, kept = model.modulation[1], [*blocks, len(model.blocks)]
    weights, biases = (
        each.split(model.modulation_sizes) for each in (modulation.weight, modulation.bias)
    )
    model.modulation[1] = linear_of(
        torch.cat([weights[each] for each in kept]), torch.cat([biases[each] for each in kept])
    )
    model.modulation_sizes = [model.modulation_sizes[each] for each in kept]
    model.blocks = nn.ModuleList(model.blocks[each] for each in blocks)


class PruneBlocks(Compression):
    """Keep keep_blocks blocks: those of `blocks`, counted from 0, or by `criterion` those that are
    spread evenly (`evenly`), or `least_damaging`."""

    leaves = {"depth": "keep_blocks"}  # noqa: RUF012
    calibrates = {"criterion": ("least_damage",)}  # noqa: RUF012

    def __init__(
        self,
        keep_blocks: Annotated[int, AtLeast(1), AtMost("depth"), OneOf("[len({*blocks})]")],
        criterion: Literal["even", "least_damage"] = "even",
        blocks: list[Annotated[int, AtLeast(0), AtMost("depth - 1")]] | None = None,
    ):
        self.keep_blocks, self.criterion, self.blocks = keep_blocks, criterion, blocks

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        blocks = evenly(self.keep_blocks, len(model.blocks))
        if self.blocks is not None:
            blocks = sorted(self.blocks)
        elif self.criterion == "least_damage" and self.loss:  # without it the shapes alone
            blocks = least_damaging(model, self.keep_blocks, self.loss)
        keep(model, blocks)
        return model
