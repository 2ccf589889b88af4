"""Dense MLPs made into mixtures of copies of themselves, which compute the same: Komatsuzaki et
al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints", arXiv:2212.05055.

Gates that sum to one leave what every token gets as it was. In training the copies come to differ,
each by the tokens that it gets.
"""

from typing import Annotated

import torch
from torch import nn

from slimdit.core.options import AtLeast, AtMost, Divides
from slimdit.core.randomness import stream
from slimdit.models.compression.base import Compression
from slimdit.models.initialization import normal
from slimdit.models.mlp.dense import DenseMlp
from slimdit.models.mlp.expert_choice import ExpertChoice
from slimdit.models.mlp.mixture import Mixture
from slimdit.models.mlp.moe import MixtureOfExperts

ROUTER_STD = 0.02  # of its weights: experts begin nearly equal in a token's eyes


class Upcycle(Compression):
    """The dense MLP of each `every`-th block becomes a mixture of copies of it, with a router of
    small random weights."""

    needs = {"mlp": "is_dense"}  # noqa: RUF012

    def __init__(self, num_experts: int, every: int, seed: int):
        self.num_experts, self.every, self.seed = num_experts, every, seed

    def mixture(self, dense: DenseMlp) -> Mixture:
        """Of the MLP's hidden size; the weights of its experts are replaced."""
        raise NotImplementedError

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        for layer, block in enumerate(model.blocks):
            if isinstance(block.mlp, DenseMlp) and layer % self.every == self.every - 1:
                block.mlp = self.of_copies(block.mlp, layer)
        return model

    def of_copies(self, dense: DenseMlp, layer: int) -> Mixture:
        mixture = self.mixture(dense)
        for index, linear in enumerate((dense.fc1, dense.fc2), 1):
            weight = linear.weight.T.repeat(self.num_experts, 1, 1)
            setattr(mixture, f"weight{index}", nn.Parameter(weight))
            setattr(mixture, f"bias{index}", nn.Parameter(linear.bias.repeat(self.num_experts, 1)))
        random = stream(self.seed, "router", layer)
        router = normal(ROUTER_STD)(random, mixture.gate.weight.shape)
        mixture.gate.weight.copy_(torch.from_numpy(router))
        mixture.gate.to(dense.fc1.weight)
        return mixture


class UpcycleTokenChoice(Upcycle):
    """Into `moe` of normalised gates."""

    def __init__(
        self,
        num_experts: Annotated[int, AtLeast(1)],
        top_k: Annotated[int, AtLeast(2), AtMost("num_experts")],
        every: Annotated[int, AtLeast(1), AtMost("depth")] = 1,
        seed: Annotated[int, AtLeast(0)] = 0,
    ):
        super().__init__(num_experts, every, seed)
        self.top_k = top_k

    def mixture(self, dense: DenseMlp) -> Mixture:
        hidden_size = dense.fc1.in_features
        return MixtureOfExperts(hidden_size, self.num_experts, self.top_k, 1, normalise=True)


class UpcycleExpertChoice(Upcycle):
    """Into `expert_choice`, with the MLP itself as the shared one: its are the tokens that no
    expert takes, and of the others what their experts' gates leave."""

    def __init__(
        self,
        num_experts: Annotated[int, AtLeast(1), Divides("capacity * num_tokens")],
        capacity: Annotated[int, AtLeast(1), AtMost("num_experts")],
        every: Annotated[int, AtLeast(1), AtMost("depth")] = 1,
        seed: Annotated[int, AtLeast(0)] = 0,
    ):
        super().__init__(num_experts, every, seed)
        self.capacity = capacity

    def mixture(self, dense: DenseMlp) -> Mixture:
        mixture = ExpertChoice(dense.fc1.in_features, self.num_experts, self.capacity, 1)
        mixture.shared = dense
        return mixture
