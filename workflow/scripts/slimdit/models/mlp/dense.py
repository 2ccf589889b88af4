"""The two-layer perceptron of the transformer block, the base."""

from torch import Tensor, nn

from slimdit.models import ops


class DenseMlp(nn.Module):
    """W2 gelu(W1 x), the tanh form of GELU."""

    def __init__(self, hidden_size: int, mlp_ratio: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, mlp_ratio * hidden_size)
        self.fc2 = nn.Linear(mlp_ratio * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x: (B, N, C) -> (B, N, C); a dense MLP routes nothing."""
        return self.fc2(ops.gelu(self.fc1(x))), None
