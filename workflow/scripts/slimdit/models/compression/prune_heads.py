"""Attention heads removed by the norm of their weights."""

import torch
from torch import Tensor, nn

from slimdit.core.errors import InputError
from slimdit.models.attention.full import FullAttention
from slimdit.models.compression.base import Compression

MODES = ("structural", "masked")


def head_scores(attention: FullAttention) -> Tensor:
    """||W_q|| + ||W_k|| + ||W_v|| of each head's slices, (H,)."""
    weight = attention.qkv.weight.reshape(3, attention.num_heads, -1)
    return weight.norm(dim=-1).sum(0)


class PruneHeads(Compression):
    """Keep the keep_heads heads of every block that score highest.

    `structural` removes the others' rows of the query, key and value projections and their
    columns of the output projection; `masked` sets the rows to zero and keeps the shapes. Both
    compute the same: a head without values adds nothing.
    """

    def __init__(self, keep_heads: int, mode: str = "structural"):
        if mode not in MODES:
            raise InputError(f"prune_heads mode {mode!r} is unknown; known: {', '.join(MODES)}.")
        self.keep_heads, self.mode = keep_heads, mode

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        for block in model.blocks:
            attention = block.attention
            if not isinstance(attention, FullAttention) or hasattr(attention, "local"):
                raise InputError(
                    f"prune_heads cannot prune {type(attention).__name__}; "
                    "it needs full or shallow attention."
                )
            if not 1 <= self.keep_heads <= attention.num_heads:
                raise InputError(
                    f"prune_heads.keep_heads {self.keep_heads} is not within 1 and the "
                    f"{attention.num_heads} heads there are."
                )
            kept = head_scores(attention).topk(self.keep_heads).indices.sort().values
            if self.mode == "masked":
                self._mask(attention, kept)
            else:
                self._remove(attention, kept)
        return model

    def _mask(self, attention: FullAttention, kept: Tensor) -> None:
        mask = torch.zeros(attention.num_heads, dtype=torch.bool)
        mask[kept] = True
        for parameter in (attention.qkv.weight, attention.qkv.bias):
            parameter.reshape(3, attention.num_heads, attention.head_size, -1)[:, ~mask] = 0

    def _remove(self, attention: FullAttention, kept: Tensor) -> None:
        heads, width = attention.num_heads, attention.head_size
        columns = torch.arange(heads * width).reshape(heads, width)[kept].flatten()
        rows = torch.cat([columns + part * heads * width for part in range(3)])
        attention.qkv = _linear(attention.qkv.weight[rows], attention.qkv.bias[rows])
        attention.proj = _linear(attention.proj.weight[:, columns], attention.proj.bias)
        attention.num_heads = self.keep_heads


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.clone())
    return linear
