"""A model's weights in the type of its matrix multiplications, converted once, for inference."""

import torch

from slimdit.models.component import autocast_parameters
from slimdit.models.dit import DiT


def store_weights(model: DiT, dtype: torch.dtype) -> None:
    """Convert, in place, the weights that would be converted in every pass: the bits of autocast.

    Quantized layers stay as they are.
    """
    if dtype != torch.float32:
        for parameter in autocast_parameters(model):
            parameter.data = parameter.data.to(dtype)
