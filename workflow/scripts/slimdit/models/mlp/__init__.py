"""Every MLP: `Mlp(hidden_size, **own)`, (B, N, C) -> (B, N, C), Routing or None.

Where a block's options say `every`, their MLP is that of each `every`-th block, and the blocks
between have the base's.
"""

from typing import Annotated

from slimdit.core.options import AtLeast, AtMost
from slimdit.core.registry import Registry

MLP = Registry(
    "mlp",
    __name__,
    {
        "dense": "dense.DenseMlp",
        "moe": "moe.MixtureOfExperts",
        "expert_choice": "expert_choice.ExpertChoice",
    },
    given=("hidden_size",),
    shared={"every": Annotated[int, AtLeast(1), AtMost("depth")]},
)
BASE = {"name": "dense"}  # of a variant that names no other


def mlp_of_layer(options: dict, layer: int) -> dict:
    """The options of one block's MLP, of a variant's `mlp`."""
    own = {key: value for key, value in options.items() if key != "every"}
    every = options.get("every", 1)
    return own if layer % every == every - 1 else BASE
