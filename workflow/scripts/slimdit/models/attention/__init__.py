"""Every attention: `Attention(hidden_size, num_heads, **own)`, (B, N, C) -> (B, N, C)."""

from slimdit.core.registry import Registry

ATTENTION = Registry(
    "attention",
    __name__,
    {
        "full": "full.FullAttention",
        "shallow": "shallow.ShallowAttention",
        "mediated": "mediated.MediatedAttention",
        "focused": "focused.FocusedAttention",
        "full_local": "full_local.FullLocalAttention",
    },
    given=("hidden_size", "num_heads"),
)
BASE = {"name": "full"}  # of a variant that names no other
