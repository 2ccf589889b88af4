"""Sparse mixture of experts that choose their tokens: Zhou et al., "Mixture-of-Experts with Expert
Choice Routing", arXiv:2202.09368, section 3.2, among the tokens of one image.
"""

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor, nn

from slimdit.core.options import AtLeast, AtMost, Divides
from slimdit.models import ops
from slimdit.models.component import autocast_parameters
from slimdit.models.mlp.dense import DenseMlp
from slimdit.models.mlp.mixture import Mixture


class ExpertChoice(Mixture):
    """sum_i p_i(x) e_i(x) over the experts that took x; each expert is a GELU MLP.

    p = softmax(W_g x) over the experts, each of which takes the K = capacity N / E tokens of an
    image whose p_i are largest: a token meets `capacity` experts on average, or none. All experts
    are loaded alike, so that no routing is told and no loss balances it, and what an image becomes
    does not depend on others.

    shared: add (1 - sum_i p_i(x)) e(x) of an MLP that every token goes through. What no expert
    claims is its, and gates sum to one.

    Letters: R = B K rows of an expert, F = mlp_ratio C.
    """

    def __init__(
        self,
        hidden_size: int,
        num_experts: Annotated[int, AtLeast(1), Divides("capacity * num_tokens")],
        capacity: Annotated[int, AtLeast(1), AtMost("num_experts")],
        mlp_ratio: Annotated[int, AtLeast(1)] = 4,
        shared: bool = False,
    ):
        super().__init__(hidden_size, num_experts, capacity, mlp_ratio)
        self.capacity = capacity
        self.shared = DenseMlp(hidden_size, mlp_ratio) if shared else None

    def autocast_parameters(self) -> Iterator[nn.Parameter]:
        yield from super().autocast_parameters()
        if self.shared is not None:
            yield from autocast_parameters(self.shared)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x: (B, N, C) -> (B, N, C)."""
        (num_images, num_tokens, _), tokens = x.shape, x.flatten(0, 1)  # (B N, C)
        count = self.capacity * num_tokens // self.num_experts
        probabilities = self.probabilities(x)  # (B, N, E)
        gates, chosen = probabilities.transpose(1, 2).topk(count, dim=-1)  # (B, E, K)
        first = num_tokens * torch.arange(num_images, device=x.device)  # of each image's tokens
        chosen = (chosen + first[:, None, None]).transpose(0, 1).flatten(1)  # (E, R)
        gates = gates.transpose(0, 1).reshape(self.num_experts, -1, 1)  # (E, R, 1)

        dtype = ops.autocast_dtype(x)
        rows = tokens.index_select(0, chosen.flatten()).to(dtype)
        rows = rows.view(*chosen.shape, -1)  # (E, R, C)
        hidden = ops.gelu(rows @ self.weight1.to(dtype) + self.bias1[:, None].to(dtype))
        rows = hidden @ self.weight2.to(dtype) + self.bias2[:, None].to(dtype)  # (E, R, C)

        out = summed(rows * gates, chosen, len(tokens)).view(x.shape)
        if self.shared is not None:
            rest = 1 - summed(gates, chosen, len(tokens))  # (B N, 1)
            out = out + rest.view(num_images, num_tokens, 1) * self.shared(x)[0]
        return out.to(x.dtype), None


def summed(rows: Tensor, chosen: Tensor, num_tokens: int) -> Tensor:
    """What experts gave to each token, (E, R, C) -> (num_tokens, C), for their tokens (E, R).

    One expert after the other: none takes a token twice, so that every sum has one order.
    """
    out = rows.new_zeros(num_tokens, rows.shape[-1])
    for each, token in zip(rows.unbind(), chosen.unbind(), strict=True):
        out = out.index_add(0, token, each)
    return out
