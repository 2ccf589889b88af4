"""Multi-head attention, the base: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762."""

from typing import Annotated

from torch import Tensor, nn

from slimdit.core.options import AtLeast, MultipleOf
from slimdit.models import ops
from slimdit.models.component import Attention
from slimdit.models.initialization import packed_projection


class FullAttention(Attention):
    """softmax(Q K^T / sqrt(d)) V over all tokens (Eq. 1), of every head.

    Args:
        head_dim: d; C / num_heads unless given.
    """

    head_outputs = {"qkv": 3}  # noqa: RUF012
    head_inputs = ("proj",)

    def __init__(
        self,
        hidden_size: Annotated[int, MultipleOf("num_heads")],
        num_heads: int,
        head_dim: Annotated[int, AtLeast(1)] | None = None,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim or hidden_size // num_heads
        inner_size = num_heads * self.head_dim
        self.qkv = nn.Linear(hidden_size, 3 * inner_size)
        self.qkv.initial = {"weight": packed_projection(hidden_size)}
        self.proj = nn.Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C)."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, d)
        attended = ops.attend(q, k, v)  # (B, H, N, d)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, -1))
