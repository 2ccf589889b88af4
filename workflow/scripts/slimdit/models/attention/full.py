"""Multi-head attention, the base."""

from torch import Tensor, nn

from slimdit.core.errors import InputError
from slimdit.models import ops
from slimdit.models.initialization import packed_projection


def head_width(hidden_size: int, num_heads: int) -> int:
    if hidden_size % num_heads:
        raise InputError(f"hidden_size {hidden_size} is not divisible by num_heads {num_heads}.")
    return hidden_size // num_heads


class FullAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over all tokens.

    Args:
        head_size: width d of a head; C / num_heads unless given.
    """

    def __init__(self, hidden_size: int, num_heads: int, head_size: int | None = None):
        super().__init__()
        self.num_heads = num_heads
        self.head_size = head_size or head_width(hidden_size, num_heads)
        inner_size = num_heads * self.head_size
        self.qkv = nn.Linear(hidden_size, 3 * inner_size)
        self.qkv.initial = {"weight": packed_projection(hidden_size)}
        self.proj = nn.Linear(inner_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C)."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, N, d)
        attended = ops.attend(q, k, v)  # (B, H, N, d)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, -1))
