"""The Diffusion Transformer (Peebles & Xie, "Scalable Diffusion Models with Transformers",
arXiv:2212.09748) with replaceable attention and MLP.

Letters in shapes: B batch, N tokens, C hidden size, P patch size, E experts, L layers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.models.initialization import normal, xavier, zeros

FREQUENCY_SIZE = 256


class Prediction(NamedTuple):
    """What the backbone returns: noise and variance channels, where tokens were routed, and what
    the last block gave.

    output: (B, 2 * in_channels, H, W). routings: one of each MLP that routes tokens. features:
    (B, N, C).
    """

    output: Tensor
    routings: list
    features: Tensor


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift, for x (B, N, C), shift and scale (B, C); (B, N, C)."""
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class TimestepEmbedder(nn.Module):
    """Sinusoid of the timestep (cosines first), then a two-layer MLP with SiLU; (B,) -> (B, C)."""

    def __init__(self, hidden_size: int, frequency_shift: int = 0):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(FREQUENCY_SIZE, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        for linear in (self.mlp[0], self.mlp[2]):
            linear.initial = {"weight": normal(0.02)}
        self.register_buffer("frequencies", frequencies(frequency_shift), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        embedding = sinusoid(t, self.frequencies)
        return self.mlp(embedding.to(self.mlp[0].bias.dtype))  # (B, C)


class GuidanceEmbedder(nn.Module):
    """Sinusoid of 1000 beta, where beta in (0, 1] is 1 / scale of guidance, then a linear layer,
    zero at first; (B,) -> (B, C)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(FREQUENCY_SIZE, hidden_size)
        for parameter in self.linear.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("frequencies", frequencies(), persistent=False)

    def forward(self, beta: Tensor) -> Tensor:
        embedding = sinusoid(1000 * beta, self.frequencies)
        return self.linear(embedding.to(self.linear.bias.dtype))  # (B, C)


def frequencies(shift: int = 0) -> Tensor:
    """10000^(-i / (128 - shift)) for i = 0 .. 127, float32."""
    half = FREQUENCY_SIZE // 2
    values = np.exp(-math.log(10_000) * np.arange(half) / (half - shift))
    return torch.from_numpy(values.astype(np.float32))


def sinusoid(t: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines of t times each frequency, then sines: (B,) -> (B, 256)."""
    angles = t[:, None].float() * frequencies  # (B, 128)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class DiTBlock(nn.Module):
    """Attention and MLP, each between an adaptive layer norm and a gate (adaLN-Zero)."""

    num_modulations = 6

    def __init__(
        self, hidden_size: int, attention: nn.Module, mlp: nn.Module, mlp_norm_eps: float = 1e-6
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)
        self.attention = attention
        self.norm2 = nn.LayerNorm(hidden_size, elementwise_affine=False, eps=mlp_norm_eps)
        self.mlp = mlp

    def forward(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, Any]:
        """x: (B, N, C); modulation: (B, 6C) -> (B, N, C), and the MLP's routing or None."""
        x, _, routing = self.with_branches(x, modulation)
        return x, routing

    def with_branches(
        self, x: Tensor, modulation: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Any]:
        """As `forward`, between its two results the outputs of attention and MLP before their
        gates, each (B, N, C)."""
        chunks = modulation.chunk(self.num_modulations, dim=1)  # six of (B, C)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = chunks
        attended = self.attention(modulate(self.norm1(x), shift_msa, scale_msa))  # (B, N, C)
        x = x + gate_msa.unsqueeze(1) * attended
        hidden, routing = self.mlp(modulate(self.norm2(x), shift_mlp, scale_mlp))
        return x + gate_mlp.unsqueeze(1) * hidden, (attended, hidden), routing

    def from_branches(
        self, x: Tensor, modulation: Tensor, attended: Tensor, hidden: Tensor
    ) -> Tensor:
        """(B, N, C), where attention and MLP are known to give `attended` and `hidden`."""
        _, _, gate_msa, _, _, gate_mlp = modulation.chunk(self.num_modulations, dim=1)
        return x + gate_msa.unsqueeze(1) * attended + gate_mlp.unsqueeze(1) * hidden


class FinalLayer(nn.Module):
    """Adaptive layer norm, then each token's features to the values of its patch."""

    num_modulations = 2

    def __init__(self, hidden_size: int, out_features: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(hidden_size, out_features)
        self.linear.initial = {"weight": zeros}

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x: (B, N, C); modulation: (B, 2C)."""
        shift, scale = modulation.chunk(self.num_modulations, dim=1)
        return self.linear(modulate(self.norm(x), shift, scale))  # (B, N, P*P*channels)


class DiT(nn.Module):
    """Predicts the noise and the variance of a latent at a timestep, given a class.

    Args:
        input_size: side H = W of the latent; must be a multiple of patch_size.
        in_channels: latent channels; the output has twice as many (noise, variance).
        num_classes: real classes; `num_classes` itself is the null class of guidance.
        attention: called as `attention(layer)` for the attention of one block.
        mlp: called as `mlp(layer)` for the MLP of one block.
        frequency_shift: 0, or 1 for the timestep's frequencies as diffusers has them.
        velocity: None, or toward what ("noise", "data") the velocity is that the model predicts
            instead of the noise: `VelocitySteps`.
        mlp_norm_eps: added to the variance in the norm before the MLP; diffusers' default is 1e-5.
    """

    def __init__(
        self,
        input_size: int,
        in_channels: int,
        num_classes: int,
        patch_size: int,
        depth: int,
        hidden_size: int,
        attention: Callable[[int], nn.Module],
        mlp: Callable[[int], nn.Module],
        frequency_shift: int = 0,
        mlp_norm_eps: float = 1e-6,
        velocity: str | None = None,
    ):
        super().__init__()
        self.velocity = velocity
        self.input_size, self.in_channels, self.num_classes = input_size, in_channels, num_classes
        self.patch_size, self.hidden_size = patch_size, hidden_size
        self.grid_size = input_size // patch_size
        self.patch_embedder = nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)
        patch_features = in_channels * patch_size**2
        self.patch_embedder.initial = {"weight": xavier(patch_features, hidden_size)}
        # A parameter, though frozen: published parameter counts of DiT include it.
        self.position_embedding = nn.Parameter(
            torch.tensor(position_table(hidden_size, self.grid_size)[None]), requires_grad=False
        )
        self.timestep_embedder = TimestepEmbedder(hidden_size, frequency_shift)
        self.label_embedder = nn.Embedding(num_classes + 1, hidden_size)
        self.label_embedder.initial = {"weight": normal(0.02)}
        self.blocks = nn.ModuleList(
            DiTBlock(hidden_size, attention(layer), mlp(layer), mlp_norm_eps)
            for layer in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, patch_size**2 * 2 * in_channels)
        # One matrix multiplication for the modulations of all layers: on their own they are B rows.
        layers = [*self.blocks, self.final_layer]
        self.modulation_sizes = [layer.num_modulations * hidden_size for layer in layers]
        self.modulation = nn.Sequential(
            nn.SiLU(), nn.Linear(hidden_size, sum(self.modulation_sizes))
        )
        self.modulation[1].initial = {"weight": zeros}
        self.guidance_embedder: GuidanceEmbedder | None = None  # `GuidanceInput` adds one

    @property
    def null_class(self) -> int:
        """The label of guidance without a class."""
        return self.num_classes

    @property
    def routes_tokens(self) -> bool:
        """Whether any MLP does, so that predictions have routings."""
        return any(block.mlp.routes_tokens for block in self.blocks)

    @property
    def takes_guidance(self) -> bool:
        """Whether it is told 1 / scale of guidance."""
        return self.guidance_embedder is not None

    def rebalance(self, loads: Tensor) -> None:
        """Tell the MLPs that route tokens the expert loads of a step, (L, E)."""
        mlps = [block.mlp for block in self.blocks if block.mlp.routes_tokens]
        for mlp, load in zip(mlps, loads, strict=True):
            mlp.rebalance(load)

    def forward(self, x: Tensor, t: Tensor, y: Tensor, beta: Tensor | None = None) -> Prediction:
        """x: (B, in_channels, H, W) latents; t: (B,) timesteps; y: (B,) class or null class; beta:
        (B,) 1 / scale of guidance, of a model that takes it; None: 1, no guidance."""
        return self.conditioned(x, self.embedding(t, y, beta))

    def embedding(self, t: Tensor, y: Tensor, beta: Tensor | None = None) -> Tensor:
        """Of timesteps, classes and guidance together, each (B,) -> (B, C)."""
        c = self.timestep_embedder(t) + self.label_embedder(y)
        if self.guidance_embedder is None:
            return c
        beta = torch.ones_like(t, dtype=torch.float32) if beta is None else beta
        return c + self.guidance_embedder(beta)

    def conditioned(self, x: Tensor, c: Tensor) -> Prediction:
        """c: (B, C), as `embedding` gives it."""
        *modulations, final = self.modulations(c)
        x, routings = self.through_blocks(self.tokens(x), modulations)
        return Prediction(self.prediction(x, final), routings, x)

    def tokens(self, x: Tensor) -> Tensor:
        """What the first block takes, (B, in_channels, H, W) -> (B, N, C)."""
        return self.patch_embedder(x).flatten(2).transpose(1, 2) + self.position_embedding

    def modulations(self, c: Tensor) -> tuple[Tensor, ...]:
        """Of each block (B, 6C), then of the final layer (B, 2C)."""
        return self.modulation(c).split(self.modulation_sizes, dim=1)

    def through_blocks(self, x: Tensor, modulations: Sequence[Tensor]) -> tuple[Tensor, list]:
        """(B, N, C) -> (B, N, C), and the routings."""
        routings = []
        for block, modulation in zip(self.blocks, modulations, strict=True):
            x, routing = block(x, modulation)
            if routing is not None:
                routings.append(routing)
        return x, routings

    def prediction(self, x: Tensor, modulation: Tensor) -> Tensor:
        """What the last block gave to noise and variance, (B, N, C) -> (B, 2 in_channels, H, W)."""
        return self._unpatchify(self.final_layer(x, modulation))

    def _unpatchify(self, x: Tensor) -> Tensor:
        grid, patch, channels = self.grid_size, self.patch_size, 2 * self.in_channels
        x = x.reshape(x.shape[0], grid, grid, patch, patch, channels)
        x = x.permute(0, 5, 1, 3, 2, 4)  # (B, channels, grid, P, grid, P)
        return x.reshape(x.shape[0], channels, grid * patch, grid * patch)


def position_table(hidden_size: int, grid_size: int) -> np.ndarray:
    """Frozen 2-D sine-cosine table, (grid_size**2, hidden_size) float32.

    The first half of the channels encodes the column, the second the row; each half is
    [sin, cos] of position / 10000^(i / (hidden_size / 4)).
    """
    frequencies = 1.0 / 10_000 ** (np.arange(hidden_size // 4) / (hidden_size / 4.0))

    def encode(position: np.ndarray) -> np.ndarray:
        angles = np.outer(position.reshape(-1), frequencies)  # (N, C/4)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # (N, C/2)

    row, column = np.meshgrid(np.arange(grid_size), np.arange(grid_size), indexing="ij")
    return np.concatenate([encode(column), encode(row)], axis=1).astype(np.float32)
