"""Every MLP: `Kind(hidden_size, **own)`, (B, N, C) -> (B, N, C), Routing or None."""

from slimdit.mlp.dense import DenseMlp
from slimdit.mlp.moe import MixtureOfExperts

MLP = {"dense": DenseMlp, "moe": MixtureOfExperts}
