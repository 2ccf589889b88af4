"""Attention heads removed."""

from typing import Annotated, Literal

from torch import Tensor, nn

from slimdit.core.options import AtLeast, AtMost
from slimdit.models.compression.pruning import Groups, Pruning, mask


class PruneHeads(Pruning):
    """Keep the keep_heads heads of every block that score highest, in their order: `Pruning`.

    `structural` removes the others' rows of the query, key and value projections and their
    columns of the output projection; `masked` sets the rows to zero and keeps the shapes. Both
    compute the same: a head without values adds nothing.
    """

    what = "heads"
    needs = {"attention": "head_outputs"}  # noqa: RUF012
    untrainable = {"mode": "masked"}  # noqa: RUF012
    leaves = {"num_heads": "keep_heads"}  # noqa: RUF012

    def __init__(
        self,
        keep_heads: Annotated[int, AtLeast(1), AtMost("num_heads")],
        mode: Literal["structural", "masked"] = "structural",
        criterion: Literal["norm", "random", "taylor", "least_damage"] = "norm",
        seed: Annotated[int, AtLeast(0)] = 0,
    ):
        self.keep, self.mode = keep_heads, mode
        self.criterion, self.seed = criterion, seed

    def groups(self, block: nn.Module) -> Groups:
        own = block.attention
        return Groups(own, own.head_outputs, own.head_inputs, own.num_heads, own.head_dim)

    def norms(self, groups: Groups) -> Tensor:
        """||W_q|| + ||W_k|| + ||W_v||, Frobenius norms of each head's slices, (H,)."""
        scores = 0
        for name, packed in groups.outputs.items():
            weight = getattr(groups.component, name).weight.reshape(packed, groups.count, -1)
            scores = scores + weight.norm(dim=-1).sum(0)
        return scores

    def remove(self, groups: Groups, kept: Tensor) -> None:
        if self.mode == "masked":
            mask(groups, kept)
        else:
            super().remove(groups, kept)
            groups.component.num_heads = self.keep
