"""The layout of SiT's code, which is DiT's, and of REPA's, whose models predict velocities."""

import re
from pathlib import Path

import torch
from torch import Tensor

from slimdit.core.errors import InputError
from slimdit.models.published.dit import DiTFormat
from slimdit.models.published.files import read_tensors
from slimdit.models.published.format import Published

ONLY_OF_TRAINING = "projectors."  # of REPA: to the features of another model
# Of REPA's first files: the blocks behind those whose features are projected.
LATER_BLOCK = re.compile(r"decoder_blocks\.(\d+)\.")
LAST = "final_layer.linear"


class SiTFormat(DiTFormat):
    """A state dict or a training checkpoint; what REPA's training alone needs is left out, blocks
    that it counts anew are counted on, and a last layer without a second half, which no sampler of
    velocities reads, gets one of zeros."""

    must_name = ("velocity",)

    def tensors(self, source: str | Path) -> dict[str, Tensor]:
        found = read_tensors(source)
        earlier = self.depth(found)

        def counted_on(name: str) -> str:
            return LATER_BLOCK.sub(lambda block: f"blocks.{earlier + int(block[1])}.", name)

        return _with_second_half(
            {
                counted_on(name): each
                for name, each in found.items()
                if not name.startswith(ONLY_OF_TRAINING)
            }
        )

    def write(self, target: str | Path, published: Published) -> str:
        """Raises InputError: what is trained here predicts noise."""
        raise InputError(f"{target} cannot be written as sit, whose models predict velocities.")


def _with_second_half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    embedder, last = tensors.get("x_embedder.proj.weight"), tensors.get(f"{LAST}.weight")
    if embedder is None or last is None or embedder.ndim != 4:
        return tensors
    channels = embedder.shape[1]
    if len(last) != channels * embedder.shape[-1] ** 2:
        return tensors
    halves = {}
    for kind in ("weight", "bias"):
        first = tensors[f"{LAST}.{kind}"].unflatten(0, (-1, channels))  # values of a place
        halves[f"{LAST}.{kind}"] = torch.cat([first, torch.zeros_like(first)], 1).flatten(0, 1)
    return tensors | halves
