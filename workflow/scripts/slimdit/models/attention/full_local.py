"""Full attention with the local convolution of mediated attention: what that alone does."""

from typing import Annotated

from torch import Tensor

from slimdit.core.options import MultipleOf
from slimdit.models import ops
from slimdit.models.attention.full import FullAttention
from slimdit.models.attention.local import convolved, local_convolution
from slimdit.models.attention.mediated import KERNEL_SIZE


class FullLocalAttention(FullAttention):
    """softmax(Q K^T / sqrt(d)) V + depthwise convolution of V.

    Its heads cannot be removed one by one: the convolution's channels would have to go with them.
    """

    head_outputs = {}  # noqa: RUF012
    head_inputs = ()

    def __init__(self, hidden_size: Annotated[int, MultipleOf("num_heads")], num_heads: int):
        super().__init__(hidden_size, num_heads)
        self.local = local_convolution(hidden_size, KERNEL_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C), N a square number."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, N, C)
        heads = (y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for y in (q, k, v))
        attended = ops.attend(*heads).transpose(1, 2).flatten(2)  # (B, N, C)
        return self.proj(attended + convolved(self.local, v))
