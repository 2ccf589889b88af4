"""Attention with heads of half the dimension."""

from typing import Annotated

from slimdit.core.options import MultipleOf
from slimdit.models.attention.full import FullAttention


class ShallowAttention(FullAttention):
    """Full attention whose query, key and value projections are C x C/2: d = C / (2 num_heads)."""

    def __init__(self, hidden_size: Annotated[int, MultipleOf("2 * num_heads")], num_heads: int):
        super().__init__(hidden_size, num_heads, head_dim=hidden_size // (2 * num_heads))
