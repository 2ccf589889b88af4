"""In which type a model's products are computed: chosen by the device, unless a config says so."""

import torch
from torch import nn

from slimdit.backbone import DiT
from slimdit.mlp.moe import MixtureOfExperts

# Hidden size from which on a CPU with tiles gains more by the products of bfloat16 than it loses by
# conversions: with 192 a training step is slower, with 384 faster, with 256 equal or faster.
LEAST_WIDTH = 256
# Layers whose weights autocast converts in every pass, and the experts, which do so themselves.
CONVERTED = (nn.Linear, nn.Conv2d, MixtureOfExperts)


def product_dtype(choice: str, hidden_size: int, device: torch.device) -> torch.dtype:
    """What the products of a model's passes are in, by autocast unless it is float32.

    choice: "bfloat16", "float32", or "auto": bfloat16 on CUDA, and on CPUs that multiply tiles of
    it (AMX) for models of at least LEAST_WIDTH channels; else float32.
    """
    if choice != "auto":
        return getattr(torch, choice)
    is_fast = device.type == "cuda" or (hidden_size >= LEAST_WIDTH and multiplies_tiles())
    return torch.bfloat16 if is_fast else torch.float32


def multiplies_tiles() -> bool:
    """Whether this CPU has instructions for matrices of bfloat16."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def store_for(dtype: torch.dtype, model: DiT) -> None:
    """Convert once, for inference in `dtype`, the weights that would be converted in every pass
    under autocast: the results have the same bits. Quantized layers stay as they are."""
    if dtype == torch.float32:
        return
    routers = {mixture.gate for mixture in model.modules() if isinstance(mixture, MixtureOfExperts)}
    for module in model.modules():
        if type(module) in CONVERTED and module not in routers:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
