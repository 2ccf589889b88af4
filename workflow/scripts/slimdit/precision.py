"""How a model's products are computed: chosen by the device, unless a config says so."""

from dataclasses import dataclass

import torch

from slimdit.devices import cxx_compiler
from slimdit.errors import InputError

# Hidden size from which on a CPU with tiles gains more by the products of bfloat16 than it loses by
# conversions: with 192 a training step is slower, with 384 faster, with 256 equal or faster.
LEAST_WIDTH = 256


@dataclass(frozen=True)
class Precision:
    """name: in configs and reports. dtype: of what goes into a layer and comes out, by autocast
    unless it is float32. A linear layer's or an expert's product is `num_products` of
    `factor_dtype`, summed in float32; attention's is of `dtype`."""

    name: str
    dtype: torch.dtype
    factor_dtype: torch.dtype
    num_products: int = 1


FLOAT32 = Precision("float32", torch.float32, torch.float32)
BFLOAT16 = Precision("bfloat16", torch.bfloat16, torch.bfloat16)
BFLOAT16X3 = Precision("bfloat16x3", torch.float32, torch.bfloat16, num_products=3)
PRECISIONS = {each.name: each for each in (FLOAT32, BFLOAT16, BFLOAT16X3)}


def chosen_precision(choice: str, hidden_size: int, device: torch.device) -> Precision:
    """That of a model's passes.

    choice: a name, or "auto": bfloat16 on CUDA, and on CPUs that multiply tiles of it (AMX) for
    models of at least LEAST_WIDTH channels; else float32. bfloat16x3 is for inference alone.
    Raises InputError for a device that lacks what it needs.
    """
    if choice == "auto":
        is_fast = device.type == "cuda" or (hidden_size >= LEAST_WIDTH and multiplies_tiles())
        return BFLOAT16 if is_fast else FLOAT32
    if choice == BFLOAT16X3.name and (lack := lack_for_split_products(device)):
        raise InputError(
            f"sampling.precision or speed.precision: {choice} {lack}; use float32 or bfloat16."
        )
    return PRECISIONS[choice]


def lack_for_split_products(device: torch.device) -> str | None:
    """Why bfloat16x3 cannot be used there, or None."""
    if device.type != "cpu":
        return f"is for CPUs, and these jobs run on {device.type}"
    if not multiplies_tiles():
        return "needs a CPU that multiplies tiles of bfloat16 (AMX), which this one does not"
    return None if cxx_compiler() else "needs a C++ compiler, g++ or clang++, and there is none"


def multiplies_tiles() -> bool:
    """Whether this CPU has instructions for matrices of bfloat16."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
