"""Types that products are computed in: their names, and the context that makes them so."""

import torch


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which products are in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
