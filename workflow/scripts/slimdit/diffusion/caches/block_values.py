"""What a cache keeps of a full pass, and how a pass goes without the blocks that gave it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slimdit.models.dit import DiT

Kept = tuple[Tensor, ...]  # of one pass, each (B, N, C)


class BranchOutputs:
    """The outputs of attention and MLP of each block before their gates: 2 L tensors (Selvaraju et
    al., "FORA: Fast-Forward Caching in Diffusion Transformer Acceleration", arXiv:2407.01425)."""

    @staticmethod
    def count(model: DiT) -> int:
        """How many tensors they are."""
        return 2 * len(model.blocks)

    @staticmethod
    def computed(model: DiT, x: Tensor, modulations: Sequence[Tensor]) -> tuple[Tensor, Kept]:
        """Through all blocks, (B, N, C) -> (B, N, C), and the outputs."""
        kept: Kept = ()
        for block, modulation in zip(model.blocks, modulations, strict=True):
            x, outputs, _ = block.with_branches(x, modulation)
            kept += outputs
        return x, kept

    @staticmethod
    def applied(model: DiT, x: Tensor, modulations: Sequence[Tensor], kept: Kept) -> Tensor:
        """The same with such outputs in their place, between gates of these modulations."""
        pairs = zip(kept[::2], kept[1::2], strict=True)
        for block, modulation, outputs in zip(model.blocks, modulations, pairs, strict=True):
            x = block.from_branches(x, modulation, *outputs)
        return x


class StackResidual:
    """What all blocks together add: one tensor. A coarse form in the manner of Ma et al.,
    "DeepCache: Accelerating Diffusion Models for Free", arXiv:2312.00858."""

    @staticmethod
    def count(model: DiT) -> int:
        return 1

    @staticmethod
    def computed(model: DiT, x: Tensor, modulations: Sequence[Tensor]) -> tuple[Tensor, Kept]:
        out, _ = model.through_blocks(x, modulations)
        return out, (out - x,)

    @staticmethod
    def applied(model: DiT, x: Tensor, modulations: Sequence[Tensor], kept: Kept) -> Tensor:
        return x + kept[0]


BLOCK_VALUES = {"blocks": BranchOutputs, "stack": StackResidual}


def zeros(model: DiT, count: int) -> Kept:
    """So many tensors as are kept of one image: (1, N, C) float32."""
    shape = 1, model.grid_size**2, model.hidden_size
    return tuple(torch.zeros(shape) for _ in range(count))
