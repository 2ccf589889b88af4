"""The two-layer perceptron of the transformer block, the base."""

from typing import Annotated

from torch import Tensor, nn

from slimdit.core.options import AtLeast
from slimdit.models import ops
from slimdit.models.component import Mlp


class DenseMlp(Mlp):
    """W2 gelu(W1 x), W1 of (mlp_ratio C) x C: Peebles & Xie, "Scalable Diffusion Models with
    Transformers", arXiv:2212.09748, with the tanh form of GELU (arXiv:1606.08415)."""

    is_dense = True
    channel_outputs = {"fc1": 1}  # noqa: RUF012
    channel_inputs = ("fc2",)

    def __init__(self, hidden_size: int, mlp_ratio: Annotated[int, AtLeast(1)] = 4):
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, mlp_ratio * hidden_size)
        self.fc2 = nn.Linear(mlp_ratio * hidden_size, hidden_size)

    @property
    def num_channels(self) -> int:
        return self.fc1.out_features

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """x: (B, N, C) -> (B, N, C); a dense MLP routes nothing."""
        return self.fc2(ops.gelu(self.fc1(x))), None
