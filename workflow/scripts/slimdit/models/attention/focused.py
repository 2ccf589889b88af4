"""Focused linear attention with grouped queries.

Han et al., "FLatten Transformer: Vision Transformer using Focused Linear Attention",
arXiv:2308.00442; Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models
from Multi-Head Checkpoints", arXiv:2305.13245.
"""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.core.options import Divides, MultipleOf
from slimdit.models import ops
from slimdit.models.attention.local import convolved, local_convolution
from slimdit.models.component import Attention
from slimdit.models.initialization import packed_projection

POWER = 3
KERNEL_SIZE = 5
EPSILON = 1e-6


def focus(x: Tensor) -> Tensor:
    """||x|| x^3 / ||x^3|| of x = ReLU(x) + epsilon, norms over the last axis, at least float32."""
    x = F.relu(x.float() if x.dtype.itemsize < 4 else x) + EPSILON
    focused = x**POWER
    return focused * (x.norm(dim=-1, keepdim=True) / focused.norm(dim=-1, keepdim=True))


class FocusedAttention(Attention):
    """phi(Q) (phi(K)^T V) / (phi(Q) sum phi(K)): linear in N.

    The state is one d x d matrix a group: group_size query heads share one key-value head. phi is
    `focus`, its norms over the dimensions of a head. On the queries the norms cancel against the
    normaliser, and are left out.

    Args:
        local: whether FLatten's depthwise convolution of V is added, whose head_dim kernels all
            heads share: a group's heads have its V, and get the same.
    """

    def __init__(
        self,
        hidden_size: Annotated[int, MultipleOf("num_heads")],
        num_heads: int,
        group_size: Annotated[int, Divides("num_heads")],
        local: bool = False,
    ):
        super().__init__()
        self.num_heads, self.group_size = num_heads, group_size
        self.head_dim = hidden_size // num_heads
        self.num_groups = num_heads // group_size
        self.q = nn.Linear(hidden_size, hidden_size)
        self.kv = nn.Linear(hidden_size, 2 * self.num_groups * self.head_dim)
        self.q.initial = self.kv.initial = {"weight": packed_projection(hidden_size)}
        self.proj = nn.Linear(hidden_size, hidden_size)
        self.local = local_convolution(self.head_dim, KERNEL_SIZE) if local else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C)."""
        batch, tokens, channels = x.shape
        groups, per_group, head_dim = self.num_groups, self.group_size, self.head_dim
        kv = self.kv(x).reshape(batch, tokens, 2, groups, head_dim)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, G, N, d)
        q = self.q(x).reshape(batch, tokens, groups, per_group, head_dim)
        q = q.permute(0, 2, 3, 1, 4).reshape(batch, groups, per_group * tokens, head_dim)
        k = focus(k)  # (B, G, N, d)
        q = (F.relu(q.to(k.dtype)) + EPSILON) ** POWER  # (B, G, H/G * N, d)
        # A last column of ones makes the normaliser part of the same two multiplications.
        ones = v.new_ones(*v.shape[:-1], 1, dtype=k.dtype)
        values = ops.aligned(torch.cat([v.to(k.dtype), ones], dim=-1))
        attended = q @ (k.transpose(-2, -1) @ values / tokens)  # of a state (B, G, d, >= d + 1)
        attended = attended[..., :head_dim] / attended[..., head_dim : head_dim + 1]
        if self.local is not None:
            local = convolved(self.local, v.flatten(0, 1)).unflatten(0, (batch, groups))
            attended = attended + local.repeat(1, 1, per_group, 1)
        attended = attended.reshape(batch, groups * per_group, tokens, head_dim).transpose(1, 2)
        return self.proj(attended.reshape(batch, tokens, channels).to(x.dtype))
