"""Channels of MLPs removed."""

from typing import Annotated, Literal

from torch import Tensor, nn

from slimdit.core.options import AtLeast, AtMost
from slimdit.models.compression.pruning import Groups, Pruning


class PruneMlp(Pruning):
    """Keep the keep_channels channels of every MLP that score highest, in their order: `Pruning`.

    A channel is a row of the first layer with its bias and a column of the second: both go.
    """

    what = "channels"
    needs = {"mlp": "channel_outputs"}  # noqa: RUF012
    leaves = {"num_channels": "keep_channels"}  # noqa: RUF012

    def __init__(
        self,
        keep_channels: Annotated[int, AtLeast(1), AtMost("num_channels")],
        criterion: Literal["norm", "random", "taylor"] = "norm",
        seed: Annotated[int, AtLeast(0)] = 0,
    ):
        self.keep, self.criterion, self.seed = keep_channels, criterion, seed

    def groups(self, block: nn.Module) -> Groups:
        own = block.mlp
        return Groups(own, own.channel_outputs, own.channel_inputs, own.num_channels, 1)

    def norms(self, groups: Groups) -> Tensor:
        """The L2 norm of all of a channel's weights, (G,)."""
        squares = 0
        for name in groups.outputs:
            layer = getattr(groups.component, name)
            squares = squares + layer.weight.square().sum(1) + layer.bias.square()
        for name in groups.inputs:
            squares = squares + getattr(groups.component, name).weight.square().sum(0)
        return squares.sqrt()
