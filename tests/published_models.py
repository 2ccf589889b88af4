"""DiTs of others: diffusers' own class, and one written from the paper's equations."""

import math

import torch
from subjects import random_tensor
from torch import Tensor

from slimdit.models.dit import FREQUENCY_SIZE, position_table

FREQUENCIES = FREQUENCY_SIZE // 2


def structure_of(depth, hidden_size, num_heads, patch_size, num_classes, input_size, **own):
    return {
        "depth": depth,
        "hidden_size": hidden_size,
        "num_heads": num_heads,
        "patch_size": patch_size,
        "attention": {"name": "full"},
        "mlp": {"name": "dense"},
        "num_classes": num_classes,
        "in_channels": 4,
        "input_size": input_size,
        **own,
    }


TINY = structure_of(2, 24, 3, 2, 5, 8)


def dit_tensors(structure: dict, std: float = 0.1) -> dict[str, Tensor]:
    """A state dict in the names of DiT's files, drawn at random."""
    C, P, depth = (structure[key] for key in ("hidden_size", "patch_size", "depth"))
    channels, grid = structure["in_channels"], structure["input_size"] // P
    linears = {
        "t_embedder.mlp.0": (C, FREQUENCY_SIZE),
        "t_embedder.mlp.2": (C, C),
        "x_embedder.proj": (C, channels, P, P),
        "final_layer.linear": (P * P * 2 * channels, C),
        "final_layer.adaLN_modulation.1": (2 * C, C),
    }
    for d in range(depth):
        linears |= {
            f"blocks.{d}.attn.qkv": (3 * C, C),
            f"blocks.{d}.attn.proj": (C, C),
            f"blocks.{d}.mlp.fc1": (4 * C, C),
            f"blocks.{d}.mlp.fc2": (C, 4 * C),
            f"blocks.{d}.adaLN_modulation.1": (6 * C, C),
        }
    shapes = {f"{name}.weight": shape for name, shape in linears.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    shapes["y_embedder.embedding_table.weight"] = (structure["num_classes"] + 1, C)
    tensors = {
        name: std * random_tensor(name, *shape, dtype=torch.float32)
        for name, shape in shapes.items()
    }
    return tensors | {"pos_embed": torch.from_numpy(position_table(C, grid)[None])}


def dit_output(w: dict[str, Tensor], x: Tensor, t: Tensor, y: Tensor, heads: int) -> Tensor:
    """DiT's forward pass in float64, from the equations: (B, c, H, W) -> (B, 2c, H, W).

    Letters: B batch, N tokens, C hidden size, P patch size, c channels, G = sqrt(N).
    """
    w = {name: tensor.double() for name, tensor in w.items()}
    B, c, H, _ = x.shape
    P = w["x_embedder.proj.weight"].shape[-1]
    G = H // P

    def linear(name: str, values: Tensor) -> Tensor:
        weight = w[f"{name}.weight"].flatten(1)
        return values @ weight.T + w[f"{name}.bias"]

    def norm(values: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        mean = values.mean(-1, keepdim=True)
        variance = (values - mean).square().mean(-1, keepdim=True)
        return (values - mean) / (variance + 1e-6).sqrt() * (1 + scale[:, None]) + shift[:, None]

    angles = t.double()[:, None] * 10_000 ** (-torch.arange(FREQUENCIES).double() / FREQUENCIES)
    embedded = linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))
    condition = linear("t_embedder.mlp.2", embedded * embedded.sigmoid())
    condition = condition + w["y_embedder.embedding_table.weight"][y]
    condition = condition * condition.sigmoid()  # SiLU, before every modulation

    patches = x.double().reshape(B, c, G, P, G, P).permute(0, 2, 4, 1, 3, 5).reshape(B, G * G, -1)
    tokens = linear("x_embedder.proj", patches) + w["pos_embed"]  # (B, N, C)
    depth = sum(name.endswith("attn.qkv.bias") for name in w)
    for d in range(depth):
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(
            f"blocks.{d}.adaLN_modulation.1", condition
        ).chunk(6, 1)
        packed = linear(f"blocks.{d}.attn.qkv", norm(tokens, shift1, scale1))
        q, k, v = (
            each.reshape(B, G * G, heads, -1).transpose(1, 2) for each in packed.chunk(3, -1)
        )
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        attended = (scores @ v).transpose(1, 2).reshape(B, G * G, -1)
        tokens = tokens + gate1[:, None] * linear(f"blocks.{d}.attn.proj", attended)
        hidden = linear(f"blocks.{d}.mlp.fc1", norm(tokens, shift2, scale2))
        cubic = math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)
        hidden = 0.5 * hidden * (1 + cubic.tanh())  # GELU in its tanh form
        tokens = tokens + gate2[:, None] * linear(f"blocks.{d}.mlp.fc2", hidden)
    shift, scale = linear("final_layer.adaLN_modulation.1", condition).chunk(2, 1)
    out = linear("final_layer.linear", norm(tokens, shift, scale))
    out = out.reshape(B, G, G, P, P, 2 * c).permute(0, 5, 1, 3, 2, 4)
    return out.reshape(B, 2 * c, H, H)


def diffusers_model(structure: dict, norm_eps: float = 1e-5, std: float = 0.1):
    """diffusers' own class with weights drawn at random, those of its embedders in every block."""
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(
        num_attention_heads=structure["num_heads"],
        attention_head_dim=structure["hidden_size"] // structure["num_heads"],
        out_channels=8,
        num_layers=structure["depth"],
        sample_size=structure["input_size"],
        patch_size=structure["patch_size"],
        num_embeds_ada_norm=structure["num_classes"],
        norm_eps=norm_eps,
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn_as = name if "norm1.emb." not in name else name.partition("norm1.emb.")[2]
            parameter.copy_(std * random_tensor(drawn_as, *parameter.shape, dtype=torch.float32))
    return model


def inputs_of(structure: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (2, 4, H, H), timesteps and classes, the second the null class."""
    side = structure["input_size"]
    x = random_tensor("x", 2, 4, side, side, dtype=torch.float32)
    return x, torch.tensor([37, 912]), torch.tensor([1, structure["num_classes"]])
