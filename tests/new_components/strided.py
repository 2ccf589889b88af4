"""Attention to every stride-th token alone."""

from typing import Annotated

from torch import Tensor

from slimdit.core.options import AtLeast, AtMost
from slimdit.models import ops
from slimdit.models.attention.full import FullAttention


class StridedAttention(FullAttention):
    """softmax(Q K^T / sqrt(d)) V over every stride-th token; its heads can be removed."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        stride: Annotated[int, AtLeast(1), AtMost("num_tokens")],
    ):
        super().__init__(hidden_size, num_heads)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C)."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, d)
        attended = ops.attend(q, k[:, :, :: self.stride], v[:, :, :: self.stride])
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, -1))
