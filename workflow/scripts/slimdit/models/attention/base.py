"""What every attention says of itself."""

from typing import ClassVar

from slimdit.models.component import Component


class Attention(Component):
    """(B, N, C) -> (B, N, C).

    An attention whose heads can be removed one by one declares where they lie: `head_outputs` names
    the linear layers whose outputs are (packed, num_heads, head_dim), each with how many are packed
    in it, and `head_inputs` those whose inputs are (num_heads, head_dim).
    """

    head_outputs: ClassVar[dict[str, int]] = {}
    head_inputs: ClassVar[tuple[str, ...]] = ()

    num_heads: int
    head_dim: int
