"""Attention heads removed by the norm of their weights, at random, or by what their loss does.

Magnitude as importance: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", arXiv:1506.02626; whole heads, each by the damage of masking it: Michel et al., "Are
Sixteen Heads Really Better than One?", arXiv:1905.10650, section 3.2.

Letters in shapes: H heads, d head dimension, C hidden size, P projections packed in a layer.
"""

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast, AtMost
from slimdit.core.randomness import stream
from slimdit.models.component import Attention
from slimdit.models.compression.base import Compression, Loss, linear_of


def head_scores(attention: Attention) -> Tensor:
    """||W_q|| + ||W_k|| + ||W_v||, Frobenius norms of each head's slices, (H,)."""
    scores = 0
    for name, packed in attention.head_outputs.items():
        weight = getattr(attention, name).weight.reshape(packed, attention.num_heads, -1)
        scores = scores + weight.norm(dim=-1).sum(0)
    return scores


def losses_without(model: nn.Module, attention: Attention, loss: Loss) -> Tensor:
    """The model's loss when one of its attentions is without each of its heads, (H,)."""
    weights = copy.deepcopy(attention.state_dict())
    heads = torch.arange(attention.num_heads)
    losses = []
    for head in heads:
        _mask(attention, heads[heads != head])
        losses.append(loss(model))
        attention.load_state_dict(weights)
    return torch.tensor(losses)


class PruneHeads(Compression):
    """Keep the keep_heads heads of every block that score highest, in their order.

    The score is, by `criterion`, `head_scores` (norm), a random number from `seed` (random), or
    `losses_without` (least_damage), which is measured block by block: the heads of earlier blocks
    are gone.

    `structural` removes the others' rows of the query, key and value projections and their
    columns of the output projection; `masked` sets the rows to zero and keeps the shapes. Both
    compute the same: a head without values adds nothing.
    """

    needs = {"attention": "head_outputs"}  # noqa: RUF012
    untrainable = {"mode": "masked"}  # noqa: RUF012
    leaves = {"num_heads": "keep_heads"}  # noqa: RUF012
    calibrates = {"criterion": "least_damage"}  # noqa: RUF012

    def __init__(
        self,
        keep_heads: Annotated[int, AtLeast(1), AtMost("num_heads")],
        mode: Literal["structural", "masked"] = "structural",
        criterion: Literal["norm", "random", "least_damage"] = "norm",
        seed: Annotated[int, AtLeast(0)] = 0,
    ):
        self.keep_heads, self.mode = keep_heads, mode
        self.criterion, self.seed = criterion, seed

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        """Raises InputError for an attention whose heads cannot be removed."""
        for layer, block in enumerate(model.blocks):
            attention = block.attention
            if not attention.head_outputs:
                raise InputError(
                    f"prune_heads cannot prune {type(attention).__name__}: "
                    "its heads cannot be removed one by one."
                )
            scores = self.scores(model, layer)
            kept = scores.topk(self.keep_heads).indices.sort().values.cpu()
            if self.mode == "masked":
                _mask(attention, kept)
            else:
                _remove(attention, kept)
        return model

    def scores(self, model: nn.Module, layer: int) -> Tensor:
        """Of the heads of a block, (H,)."""
        attention = model.blocks[layer].attention
        match self.criterion, self.loss:
            case "random", _:
                random = stream(self.seed, "heads", layer)
                return torch.from_numpy(random.random(attention.num_heads))
            case "least_damage", None:  # any heads give the shapes
                return torch.zeros(attention.num_heads)
            case "least_damage", loss:
                return losses_without(model, attention, loss)
        return head_scores(attention)


def _mask(attention: Attention, kept: Tensor) -> None:
    is_removed = torch.ones(attention.num_heads, dtype=torch.bool)
    is_removed[kept] = False
    for name, packed in attention.head_outputs.items():
        layer = getattr(attention, name)
        for parameter in (layer.weight, layer.bias):
            heads = parameter.reshape(packed, attention.num_heads, attention.head_dim, -1)
            heads[:, is_removed] = 0


def _remove(attention: Attention, kept: Tensor) -> None:
    heads, head_dim = attention.num_heads, attention.head_dim
    columns = torch.arange(heads * head_dim).reshape(heads, head_dim)[kept].flatten()
    for name, packed in attention.head_outputs.items():
        layer = getattr(attention, name)
        rows = torch.cat([columns + index * heads * head_dim for index in range(packed)])
        setattr(attention, name, linear_of(layer.weight[rows], layer.bias[rows]))
    for name in attention.head_inputs:
        layer = getattr(attention, name)
        setattr(attention, name, linear_of(layer.weight[:, columns], layer.bias))
    attention.num_heads = len(kept)
