"""Sparse mixture of experts, token choice, without the shared experts of its source: Fei et al.,
"Scaling Diffusion Transformers to 16 Billion Parameters", arXiv:2407.11633.
"""

from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from slimdit.core.options import AtLeast, AtMost
from slimdit.models import ops
from slimdit.models.mlp.mixture import Mixture


class Routing(NamedTuple):
    """Where a layer sent its tokens.

    load: (E,) f, the fraction of routed slots per expert. probability: (E,) P, the mean over the
    tokens of each expert's probability.
    """

    load: Tensor
    probability: Tensor

    def balance_loss(self, load: Tensor | None = None) -> Tensor:
        """E sum_i f_i P_i, 1 when both are uniform (Fedus et al., "Switch Transformers",
        arXiv:2101.03961, Eq. 4, without its weight).

        load: f of a whole batch, where these tokens are a part of it: the mean of this over the
        parts, by their tokens, is then the loss of the whole, in its gradient too.
        """
        load = self.load if load is None else load
        return len(load) * (load * self.probability).sum()


class MixtureOfExperts(Mixture):
    """sum_i g_i(x) e_i(x) over the top_k experts of each token; each expert is a GELU MLP.

    g = softmax(W_g x), with `normalise` divided by its sum over the chosen.

    balance_rate: u, by which each step raises the bias b of an expert with less than an even load
    and lowers that of one with more. Experts are chosen by softmax(W_g x) + b, and weighted without
    it: Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
    arXiv:2408.15664, Algorithm 1. The moving average of a training has the last b.

    Letters: R = B N top_k routed rows, F = mlp_ratio C.
    """

    routes_tokens = True

    def __init__(
        self,
        hidden_size: int,
        num_experts: Annotated[int, AtLeast(1)],
        top_k: Annotated[int, AtLeast(1), AtLeast("1 + normalise"), AtMost("num_experts")],
        mlp_ratio: Annotated[int, AtLeast(1)] = 4,
        normalise: bool = False,
        balance_rate: Annotated[float, AtLeast(0)] = 0.0,
    ):
        super().__init__(hidden_size, num_experts, top_k, mlp_ratio)
        self.top_k, self.normalise, self.balance_rate = top_k, normalise, balance_rate
        self.register_buffer("bias", torch.zeros(num_experts) if balance_rate else None)

    @torch.no_grad()
    def rebalance(self, load: Tensor) -> None:
        if self.bias is not None:
            self.bias += self.balance_rate * (1 / self.num_experts - load).sign()

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x: (B, N, C) -> (B, N, C), and where its tokens went."""
        shape = x.shape
        x = x.reshape(-1, shape[-1])  # (B N, C)
        probabilities = self.probabilities(x)  # (B N, E)
        gates, chosen = self.choice(probabilities)  # each (B N, top_k)
        if self.normalise:
            gates = gates / gates.sum(-1, keepdim=True)

        one_hot = F.one_hot(chosen.flatten(), self.num_experts)  # (R, E)
        counts = one_hot.sum(0)  # (E,)
        routing = Routing(counts.to(probabilities.dtype) / chosen.numel(), probabilities.mean(0))

        order = chosen.flatten().argsort(stable=True)  # rows sorted by expert, (R,)
        # The gradient of x[index] is summed by threads in the order of chance, of index_select not.
        expert = chosen.flatten().index_select(0, order)  # (R,)
        token = order // self.top_k  # (R,)
        ends = counts.cumsum(0).to(torch.int32)  # (E,)
        dtype = ops.autocast_dtype(x)  # torch does not autocast grouped multiplications
        rows = x.index_select(0, token).to(dtype)  # (R, C)
        hidden = ops.grouped_matmul(rows, self.weight1, ends)  # (R, F)
        hidden = ops.gelu(hidden + ops.rows_of_groups(self.bias1.to(dtype), expert))
        rows = ops.grouped_matmul(hidden, self.weight2, ends)  # (R, C)
        rows = rows + ops.rows_of_groups(self.bias2.to(dtype), expert)
        rows = rows * gates.flatten().index_select(0, order)[:, None]
        rows = rows.index_select(0, order.argsort())
        out = rows.reshape(-1, self.top_k, shape[-1]).sum(1)  # (B N, C)
        return out.reshape(shape).to(x.dtype), routing

    def choice(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities of the chosen experts and which they are, each (B N, top_k)."""
        if self.bias is None:
            return probabilities.topk(self.top_k, dim=-1)
        chosen = (probabilities + self.bias).topk(self.top_k, dim=-1).indices
        return probabilities.gather(-1, chosen), chosen
