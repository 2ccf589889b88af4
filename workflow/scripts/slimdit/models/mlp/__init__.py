"""Every MLP: `Kind(hidden_size, **own)`, (B, N, C) -> (B, N, C), Routing or None."""

from slimdit.core.registry import Registry

MLP = Registry("mlp", __name__, {"dense": "dense.DenseMlp", "moe": "moe.MixtureOfExperts"})
