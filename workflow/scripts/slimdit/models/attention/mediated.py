"""Attention through a few mediator tokens, without the positional biases of its source: Pu et al.,
"Efficient Diffusion Transformer with Step-wise Dynamic Attention Mediators", arXiv:2408.05710.
"""

import math
from typing import Annotated

from torch import Tensor

from slimdit.core.options import AtMost, MultipleOf, Square
from slimdit.models import ops
from slimdit.models.attention.full import FullAttention
from slimdit.models.attention.local import convolved, image, local_convolution

KERNEL_SIZE = 3


class MediatedAttention(FullAttention):
    """softmax(Q T^T / sqrt(d)) softmax(T K^T / sqrt(d)) V + depthwise convolution of V.

    The mediators T are the queries, average-pooled to a square of M = num_mediators tokens: two
    attentions of O(N M C) instead of one of O(N^2 C). Its heads cannot be removed one by one: the
    convolution's channels would have to go with them.

    Args:
        local: whether there is the convolution.
    """

    head_outputs = {}  # noqa: RUF012
    head_inputs = ()

    def __init__(
        self,
        hidden_size: Annotated[int, MultipleOf("num_heads")],
        num_heads: int,
        num_mediators: Annotated[int, Square(), AtMost("num_tokens")],
        local: bool = True,
    ):
        super().__init__(hidden_size, num_heads)
        self.side = math.isqrt(num_mediators)
        self.local = local_convolution(hidden_size, KERNEL_SIZE) if local else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, N, C) -> (B, N, C), N a square number."""
        batch, tokens, channels = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, N, C)

        def heads(y: Tensor) -> Tensor:
            return y.reshape(batch, -1, self.num_heads, self.head_dim).transpose(1, 2)

        mediators = ops.pooled(image(q), self.side)  # (B, C, side, side)
        t = heads(mediators.flatten(2).transpose(1, 2))  # (B, H, M, d)
        mediated = ops.attend(t, heads(k), heads(v))  # (B, H, M, d)
        attended = ops.attend(heads(q), t, mediated)  # (B, H, N, d)
        attended = attended.transpose(1, 2).reshape(batch, tokens, channels)
        if self.local is not None:
            attended = attended + convolved(self.local, v)
        return self.proj(attended)
