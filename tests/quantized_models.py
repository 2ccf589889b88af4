"""Small models of random weights, what quantization makes of them, and how far off that is."""

import copy

import torch
from subjects import PHOTOS, random_tensor, randomized, tiny
from torch import Tensor

from slimdit.models.build import build_model, compress
from slimdit.models.compression.quantization import QuantizedLinear
from slimdit.models.dit import DiT

HEADS, HIDDEN_SIZE = 8, 32
INT8 = ("int8_weight_only", "int8_dynamic")
ON_CPU = (*INT8, "fp8_dynamic")


def trained(variant: str = "S2-base", num_heads: int = HEADS) -> tuple[dict, DiT]:
    """A structure and a model of it."""
    structure = tiny(PHOTOS.structure(variant) | {"num_heads": num_heads})
    return structure, randomized(build_model(structure), torch.float32, std=0.2).eval()


def quantized(model: DiT, *names: str, **options) -> DiT:
    """A copy after the operations of these names, each with the options."""
    return compress(copy.deepcopy(model), [{"name": name, **options} for name in names])


def quantized_layers(model: DiT, kind: type = QuantizedLinear) -> set[str]:
    return {name for name, each in model.named_modules() if isinstance(each, kind)}


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    x = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32)
    return x, torch.tensor([3, 700]), torch.tensor([0, 2])


def outputs(model: DiT, *given: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(*(given or inputs())).output


def error(value: Tensor, expected: Tensor) -> float:
    return ((value.float() - expected).norm() / expected.norm()).item()
