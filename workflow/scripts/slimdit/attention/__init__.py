"""Every attention: `Kind(hidden_size, num_heads, **own)`, (B, N, C) -> (B, N, C)."""

from slimdit.attention.focused import FocusedAttention
from slimdit.attention.full import FullAttention
from slimdit.attention.mediated import MediatedAttention
from slimdit.attention.shallow import ShallowAttention

ATTENTION = {
    "full": FullAttention,
    "shallow": ShallowAttention,
    "mediated": MediatedAttention,
    "focused": FocusedAttention,
}
