"""DiT as its repositories run it: a module for each thing, one operation after the other.

Attention is two matrix multiplications and a softmax, every block has a modulation of its own, and
experts take their tokens in a loop. (Where timm picks its fused attention, theirs is faster than
this one.)
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimdit.models.attention.full import FullAttention
from slimdit.models.dit import DiT
from slimdit.models.mlp.dense import DenseMlp
from slimdit.models.mlp.moe import MixtureOfExperts


class PlainTransformer(nn.Module):
    """Computes what `model` does, full attention with dense MLPs or experts, by its weights."""

    def __init__(self, model: DiT):
        super().__init__()
        self.num_classes, self.patch_size = model.num_classes, model.patch_size
        self.patches = copy.deepcopy(model.patch_embedder)
        self.positions = nn.Parameter(model.position_embedding.clone(), requires_grad=False)
        self.timestep = copy.deepcopy(model.timestep_embedder.mlp)
        self.classes = copy.deepcopy(model.label_embedder)
        modulation = model.modulation[1]
        weights = modulation.weight.split(model.modulation_sizes)
        biases = modulation.bias.split(model.modulation_sizes)
        *own, last = (linear(*pair) for pair in zip(weights, biases, strict=True))
        self.blocks = nn.ModuleList(map(PlainBlock, model.blocks, own))
        self.final_modulation, self.final = last, copy.deepcopy(model.final_layer.linear)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """x: (B, C, H, W); t, y: (B,) -> (B, 2C, H, W)."""
        batch, _, height, width = x.shape
        rows, columns, side = height // self.patch_size, width // self.patch_size, self.patch_size
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        c = self.timestep(sinusoid(t)) + self.classes(y)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.final_modulation(F.silu(c)).chunk(2, dim=1)
        x = self.final(modulated(x, shift, scale))
        x = x.reshape(batch, rows, columns, side, side, -1)
        return torch.einsum("nhwpqc->nchpwq", x).reshape(batch, -1, height, width)


class PlainBlock(nn.Module):
    def __init__(self, block: nn.Module, modulation: nn.Linear):
        super().__init__()
        self.attention = PlainAttention(block.attention)
        self.mlp = MLPS[type(block.mlp)](block.mlp)
        self.modulation = modulation

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        parts = self.modulation(F.silu(c)).chunk(6, dim=1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        x = x + gate1.unsqueeze(1) * self.attention(modulated(x, shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulated(x, shift2, scale2))


class PlainAttention(nn.Module):
    def __init__(self, attention: FullAttention):
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv, self.proj = copy.deepcopy(attention.qkv), copy.deepcopy(attention.proj)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


class PlainMlp(nn.Module):
    def __init__(self, mlp: DenseMlp):
        super().__init__()
        self.fc1, self.fc2 = copy.deepcopy(mlp.fc1), copy.deepcopy(mlp.fc2)
        self.gelu = nn.GELU(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.gelu(self.fc1(x)))


class PlainMixture(nn.Module):
    """Each expert takes the tokens that chose it, one expert after the other."""

    def __init__(self, mixture: MixtureOfExperts):
        super().__init__()
        self.top_k, self.gate = mixture.top_k, copy.deepcopy(mixture.gate)
        self.experts = nn.ModuleList(
            nn.Sequential(linear(weight1.T, bias1), nn.GELU("tanh"), linear(weight2.T, bias2))
            for weight1, bias1, weight2, bias2 in zip(
                mixture.weight1, mixture.bias1, mixture.weight2, mixture.bias2, strict=True
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        shape, x = x.shape, x.reshape(-1, x.shape[-1])
        weights, chosen = self.gate(x).softmax(dim=-1).topk(self.top_k, dim=-1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == index)
            out.index_add_(0, token, weights[token, slot, None] * expert(x[token]))
        return out.reshape(shape)


MLPS = {DenseMlp: PlainMlp, MixtureOfExperts: PlainMixture}


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    normal = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return normal * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def sinusoid(t: Tensor, size: int = 256) -> Tensor:
    """(B,) -> (B, size), cosines first."""
    half = size // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    layer.bias = nn.Parameter(bias.detach().clone())
    return layer
