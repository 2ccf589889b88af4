"""The type of matrix multiplications: chosen by the device, unless a config says so."""

import torch

# Hidden size from which on a CPU with tiles gains more by matrix multiplications in bfloat16 than
# it loses by conversions: with 192 a training step is slower, with 384 faster, with 256 equal or
# faster.
LEAST_HIDDEN_SIZE = 256


def chosen_dtype(choice: str, hidden_size: int, device: torch.device) -> torch.dtype:
    """Of a model's passes.

    choice: "float32", "bfloat16" or "auto": bfloat16 on CUDA, and on CPUs that multiply tiles of it
    (AMX) for models of at least LEAST_HIDDEN_SIZE channels; else float32.
    """
    if choice == "auto":
        has_tiles = bool(torch.cpu.get_capabilities().get("amx_bf16"))
        is_fast = device.type == "cuda" or (hidden_size >= LEAST_HIDDEN_SIZE and has_tiles)
        return torch.bfloat16 if is_fast else torch.float32
    return getattr(torch, choice)


def name_of(dtype: torch.dtype) -> str:
    """The name that configs and reports have for a type: float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which matrix multiplications are in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
