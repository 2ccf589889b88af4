"""Attention with heads of half the width."""

from slimdit.models.attention.full import FullAttention, head_width


class ShallowAttention(FullAttention):
    """Full attention whose query, key and value projections are C x C/2."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__(hidden_size, num_heads, head_size=head_width(hidden_size, 2 * num_heads))
