"""Weights rounded to a few decimals."""

from typing import Annotated

import torch
from torch import nn

from slimdit.core.options import AtLeast
from slimdit.models.compression.base import Compression


class Rounding(Compression):
    followers = ()

    def __init__(self, decimals: Annotated[int, AtLeast(0)]):
        self.decimals = decimals

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter.copy_(parameter.round(decimals=self.decimals))
        return model
