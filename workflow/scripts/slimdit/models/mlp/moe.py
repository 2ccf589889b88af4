"""Sparse mixture of experts (Fei et al. 2024), token choice, without shared experts."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.models import ops
from slimdit.models.initialization import xavier, zeros


class Routing(NamedTuple):
    """Where a layer sent its tokens.

    load: (E,) f, the fraction of routed slots per expert. probability: (E,) P, the mean over the
    tokens of each expert's probability.
    """

    load: Tensor
    probability: Tensor

    def balance_loss(self, load: Tensor | None = None) -> Tensor:
        """E sum_i f_i P_i, 1 when both are uniform.

        load: f of a whole batch, where these tokens are a part of it: the mean of this over the
        parts, by their tokens, is then the loss of the whole, in its gradient too.
        """
        load = self.load if load is None else load
        return len(load) * (load * self.probability).sum()


class MixtureOfExperts(nn.Module):
    """sum_i g_i(x) e_i(x) over the top_k experts of each token; each expert is a GELU MLP.

    g = softmax(W_g x), not renormalised over the chosen.

    Letters: R = B N top_k routed rows, F = mlp_ratio C.
    """

    def __init__(self, hidden_size: int, num_experts: int, top_k: int, mlp_ratio: int = 4):
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise InputError(f"top_k {top_k} is not within 1 and num_experts {num_experts}.")
        self.num_experts, self.top_k = num_experts, top_k
        width = mlp_ratio * hidden_size
        self.gate = nn.Linear(hidden_size, num_experts, bias=False)
        self.weight1 = nn.Parameter(torch.empty(num_experts, hidden_size, width))
        self.bias1 = nn.Parameter(torch.empty(num_experts, width))
        self.weight2 = nn.Parameter(torch.empty(num_experts, width, hidden_size))
        self.bias2 = nn.Parameter(torch.empty(num_experts, hidden_size))
        expert = xavier(hidden_size, width)
        self.initial = {"weight1": expert, "bias1": zeros, "weight2": expert, "bias2": zeros}

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """x: (B, N, C) -> (B, N, C), and where its tokens went."""
        shape = x.shape
        x = x.reshape(-1, shape[-1])  # (B N, C)
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float() if x.dtype.itemsize < 4 else x, self.gate.weight)
        probabilities = logits.softmax(dim=-1)  # (B N, E)
        gates, chosen = probabilities.topk(self.top_k, dim=-1)  # (B N, top_k)

        one_hot = F.one_hot(chosen.flatten(), self.num_experts)  # (R, E)
        counts = one_hot.sum(0)  # (E,)
        routing = Routing(counts.to(probabilities.dtype) / chosen.numel(), probabilities.mean(0))

        order = chosen.flatten().argsort(stable=True)  # rows sorted by expert, (R,)
        expert = chosen.flatten()[order]  # (R,)
        token = order // self.top_k  # (R,)
        ends = counts.cumsum(0).to(torch.int32)  # (E,)
        dtype = ops.autocast_dtype(x)  # grouped products are not autocast by torch
        rows = x[token].to(dtype)  # (R, C)
        hidden = ops.grouped_matmul(rows, self.weight1, ends)  # (R, F)
        hidden = ops.gelu(hidden + self.bias1.to(dtype)[expert])
        rows = ops.grouped_matmul(hidden, self.weight2, ends)  # (R, C)
        rows = (rows + self.bias2.to(dtype)[expert]) * gates.flatten()[order, None]
        out = rows[order.argsort()].reshape(-1, self.top_k, shape[-1]).sum(1)  # (B N, C)
        return out.reshape(shape).to(x.dtype), routing
