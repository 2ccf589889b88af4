"""The scale of guidance as an input of the model, so that one pass is a guided one."""

from torch import nn

from slimdit.models.compression.base import Compression
from slimdit.models.dit import GuidanceEmbedder


class GuidanceInput(Compression):
    """Adds the embedding of beta = 1 / scale, zero before training: of no effect.

    What a training then teaches is in `Objective`.
    """

    gives_guidance_input = True

    def __call__(self, model: nn.Module) -> nn.Module:
        device = model.position_embedding.device
        model.guidance_embedder = GuidanceEmbedder(model.hidden_size).to(device)
        return model
