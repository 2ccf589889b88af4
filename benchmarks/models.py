"""The models of a study, with weights that hide no term, and latents for them."""

from pathlib import Path

import torch
from latent_cache import write_latent_cache

from slimdit.core.randomness import stream
from slimdit.data.latents import LatentCache
from slimdit.models.build import build_model, compress
from slimdit.models.dit import DiT
from slimdit.study.study import Study

BATCH_SIZE = 8
STD = 0.02  # of weights that start at zero


def trained_model(study: Study, variant: str) -> DiT:
    """The model that `variant` is derived from, or is."""
    model = build_model(study.structure(variant), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                values = stream(0, f"benchmark/{name}").standard_normal(tuple(parameter.shape))
                parameter.copy_(STD * torch.from_numpy(values))
    return model


def made_model(study: Study, variant: str, device: torch.device) -> DiT:
    """`variant` with its operations, ready for inference on the device."""
    model = compress(trained_model(study, variant), study.operations(variant))
    return model.to(device).eval()


def random_latents(study: Study, folder: str | Path, num_images: int) -> LatentCache:
    """A cache in the folder that the study's models can be trained on."""
    structure = study.structure("S2-base")
    paths = write_latent_cache(
        Path(folder),
        num_images,
        channels=structure["in_channels"],
        side=structure["input_size"],
        num_classes=structure["num_classes"],
    )
    return LatentCache(*paths)
