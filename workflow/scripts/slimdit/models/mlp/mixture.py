"""What mixtures of experts share: the experts, the router, and what these say of themselves."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.models.component import Mlp
from slimdit.models.initialization import xavier, zeros


class Mixture(Mlp):
    """E experts, each a GELU MLP, of which a token meets `experts_per_token`, at least on average.

    Letters: F = mlp_ratio C.
    """

    def __init__(self, hidden_size: int, num_experts: int, experts_per_token: int, mlp_ratio: int):
        super().__init__()
        self.num_experts, self.experts_per_token = num_experts, experts_per_token
        inner_size = mlp_ratio * hidden_size
        self.gate = nn.Linear(hidden_size, num_experts, bias=False)
        self.weight1 = nn.Parameter(torch.empty(num_experts, hidden_size, inner_size))
        self.bias1 = nn.Parameter(torch.empty(num_experts, inner_size))
        self.weight2 = nn.Parameter(torch.empty(num_experts, inner_size, hidden_size))
        self.bias2 = nn.Parameter(torch.empty(num_experts, hidden_size))
        expert = xavier(hidden_size, inner_size)
        self.initial = {"weight1": expert, "bias1": zeros, "weight2": expert, "bias2": zeros}

    def probabilities(self, x: Tensor) -> Tensor:
        """softmax(W_g x), not below float32: (..., C) -> (..., E)."""
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float() if x.dtype.itemsize < 4 else x, self.gate.weight)
        return logits.softmax(dim=-1)

    def token_layers(self) -> Iterator[tuple[str, nn.Linear]]:
        """None: an expert sees some of the tokens, and the router is a few columns in float32."""
        return iter(())

    def idle_params(self) -> int:
        """Those of the experts that a token does not visit."""
        of_experts = sum(parameter.numel() for parameter in self.parameters(recurse=False))
        return of_experts * (self.num_experts - self.experts_per_token) // self.num_experts

    def autocast_parameters(self) -> Iterator[nn.Parameter]:
        """The experts'; the router's logits are in float32."""
        return self.parameters(recurse=False)
