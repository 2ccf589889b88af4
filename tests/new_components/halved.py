"""An MLP of which a token meets a half, by its place."""

from typing import Annotated

import torch
from torch import Tensor, nn

from slimdit.core.options import Divides
from slimdit.models import ops
from slimdit.models.component import Mlp


class HalvedMlp(Mlp):
    """One MLP for the first half of the tokens, another for the second."""

    def __init__(self, hidden_size: int, ratio: Annotated[int, Divides("hidden_size")] = 2):
        super().__init__()
        inner_size = ratio * hidden_size
        self.fc1 = nn.ModuleList(nn.Linear(hidden_size, inner_size) for _ in range(2))
        self.fc2 = nn.ModuleList(nn.Linear(inner_size, hidden_size) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x: (B, N, C) -> (B, N, C)."""
        halves = zip(self.fc1, self.fc2, x.chunk(2, dim=1), strict=True)
        return torch.cat([fc2(ops.gelu(fc1(half))) for fc1, fc2, half in halves], dim=1), None

    def idle_params(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters()) // 2
