"""Heads or channels removed from every block: those that score lowest, by one of several scores.

Magnitude as importance: Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", arXiv:1506.02626; each by the damage of masking it: Michel et al., "Are Sixteen Heads
Really Better than One?", arXiv:1905.10650, section 3.2; that damage to first order: Molchanov et
al., "Importance Estimation for Neural Network Pruning", arXiv:1906.10771, Eq. 8.

Letters in shapes: G groups (heads or channels), d features of one, P packed in a layer.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.models.component import Component
from slimdit.models.compression.base import Compression, Loss, linear_of


class Groups(NamedTuple):
    """What can be removed one by one of a component: `count` groups of `width` features.

    outputs: the linear layers whose outputs are (P, G, d), each with P. inputs: those whose inputs
    are (G, d). Without outputs the component has no such groups.
    """

    component: Component
    outputs: dict[str, int]
    inputs: tuple[str, ...]
    count: int
    width: int


def taylor_scores(model: nn.Module, groups: Groups, loss: Loss) -> Tensor:
    """The square of the loss's derivative by a gate of 1 on each group, the mean over images of
    squares of one image's, (G,).

    The derivative is the sum of gradient times weight over what takes the group as its input. Of
    all images together it would be near zero in any model that is trained.
    """
    gates = []

    def gated(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        x = inputs[0].unflatten(-1, (groups.count, groups.width))  # (B, N, G, d)
        gates.append(x.new_ones(len(x), 1, groups.count, 1, requires_grad=True))
        return (x * gates[-1]).flatten(-2)

    layers = [getattr(groups.component, name) for name in groups.inputs]
    hooks = [layer.register_forward_pre_hook(gated) for layer in layers]
    squares = []
    with torch.enable_grad():
        for losses in loss.of_images(model):
            derivatives = sum(torch.autograd.grad(losses.sum(), gates))
            squares.append(derivatives.square().flatten(1))  # (B, G)
            gates.clear()
    for hook in hooks:
        hook.remove()
    return torch.cat(squares).mean(0)


def losses_without(model: nn.Module, groups: Groups, loss: Loss) -> Tensor:
    """The model's loss when one of its components is without each of its groups, (G,)."""
    weights = copy.deepcopy(groups.component.state_dict())
    every = torch.arange(groups.count)
    losses = []
    for group in every:
        mask(groups, every[every != group])
        losses.append(loss(model))
        groups.component.load_state_dict(weights)
    return torch.tensor(losses)


def mask(groups: Groups, kept: Tensor) -> None:
    """Set the others' rows and biases to zero: the layers behind get nothing of those groups."""
    is_removed = torch.ones(groups.count, dtype=torch.bool)
    is_removed[kept] = False
    for name, packed in groups.outputs.items():
        layer = getattr(groups.component, name)
        for parameter in (layer.weight, layer.bias):
            rows = parameter.reshape(packed, groups.count, groups.width, -1)
            rows[:, is_removed] = 0


class Pruning(Compression):
    """Keep the `keep` groups of every block that score highest, in their order.

    The score is, by `criterion`, `norms`, a random number from `seed`, `taylor_scores`, or
    `losses_without` (least_damage). It is measured block by block: the groups of earlier blocks
    are gone.
    """

    calibrates = {"criterion": ("taylor", "least_damage")}  # noqa: RUF012
    what: str  # the groups, in words

    keep: int
    criterion: str
    seed: int

    def groups(self, block: nn.Module) -> Groups:
        raise NotImplementedError

    def norms(self, groups: Groups) -> Tensor:
        """Of the weights of each group, (G,)."""
        raise NotImplementedError

    def remove(self, groups: Groups, kept: Tensor) -> None:
        """Take the others' rows and columns out of the layers."""
        component, width = groups.component, groups.width
        size = groups.count * width
        columns = torch.arange(size).reshape(-1, width)[kept].flatten()
        for name, packed in groups.outputs.items():
            layer = getattr(component, name)
            rows = torch.cat([columns + index * size for index in range(packed)])
            setattr(component, name, linear_of(layer.weight[rows], layer.bias[rows]))
        for name in groups.inputs:
            layer = getattr(component, name)
            setattr(component, name, linear_of(layer.weight[:, columns], layer.bias))

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        """Raises InputError for a component whose groups cannot be removed."""
        for layer, block in enumerate(model.blocks):
            groups = self.groups(block)
            if not groups.outputs:
                raise InputError(
                    f"{type(self).__name__} cannot prune {type(groups.component).__name__}: "
                    f"its {self.what} cannot be removed one by one."
                )
            scores = self.scores(model, layer, groups)
            self.remove(groups, scores.topk(self.keep).indices.sort().values.cpu())
        return model

    def scores(self, model: nn.Module, layer: int, groups: Groups) -> Tensor:
        """Of the groups of a block, (G,)."""
        if self.criterion == "random":
            return torch.from_numpy(stream(self.seed, self.what, layer).random(groups.count))
        if self.criterion == "norm":
            return self.norms(groups)
        if self.loss is None:  # any groups give the shapes
            return torch.zeros(groups.count)
        measured = taylor_scores if self.criterion == "taylor" else losses_without
        return measured(model, groups, self.loss)
