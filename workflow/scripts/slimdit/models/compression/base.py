"""What every operation on a trained model can be asked."""

import torch
from torch import nn


class Compression:
    def __call__(self, model: nn.Module) -> nn.Module:
        raise NotImplementedError

    def unsupported(self, device: torch.device) -> str | None:
        """What `device` lacks to run a model that this was applied to, as "needs ..."; or None."""
        return None
