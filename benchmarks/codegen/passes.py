"""The passes of a study that are compiled, each once, on a device that is not there."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from slimdit.compute.precision import autocast
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.image_decoder import decode_dtype
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.models.build import build_model, compress
from slimdit.models.compression import COMPRESSION
from slimdit.models.dit import DiT
from slimdit.study.study import Study, identity
from slimdit.training import objective_of
from slimdit.training.objective import Hyperparameters

DEPTH = 2  # blocks of each model
SAMPLED, TRAINED, DECODED = 4, 32, 8  # images of a batch
STABLE_DIFFUSION = {  # the autoencoder of the paper's study
    "down_block_types": 4 * ("DownEncoderBlock2D",),
    "up_block_types": 4 * ("UpDecoderBlock2D",),
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 256,
}


class OtherGpu(Exception):
    """A row needs a GPU of another kind."""


def sampler_step(study: Study, variant: str, device: torch.device) -> None:
    model = made(study, variant, device)
    sampling = study.sampling(variant) | {"batch_size": SAMPLED}
    sampler = LatentSampler(model, sampling, study.num_timesteps(variant), device)
    x = torch.zeros(SAMPLED, model.in_channels, *2 * [model.input_size], device=device)
    k = torch.zeros(1, dtype=torch.long, device=device)
    classes = sampler.guidance.classes(torch.zeros(SAMPLED, dtype=torch.long, device=device))
    noise = torch.zeros_like(x) if sampler.sampler.needs_noise else None
    carried = [torch.zeros_like(x) for _ in range(sampler.sampler.num_carried)]
    with torch.inference_mode():
        sampler.compiled_step(x, k, classes, noise, sampler.is_guided[0], (), *carried)


def training_step(study: Study, variant: str, device: torch.device) -> None:
    model, teacher = made(study, variant, device).train(), study.teacher(variant)
    hyper = Hyperparameters(**identity(study.training(variant)))
    hyper = dataclasses.replace(hyper, batch_size=TRAINED)
    latent_shape = model.in_channels, model.input_size, model.input_size
    cache = SimpleNamespace(  # what `LatentBatches` reads of a `LatentCache`
        moments=np.ones((TRAINED, 2, 2, *latent_shape), np.float16),
        labels=np.zeros(TRAINED, np.int64),
        manifest={"shift": [0.0], "scale": [1.0]},
    )
    batches = LatentBatches(cache, TRAINED, hyper.horizontal_flip, 0, device)
    teacher_model = teacher and made(study, teacher, device).requires_grad_(False)
    objective_of(model, hyper, batches, 0, teacher_model, study.distillation(variant))(0)


def decoder(study: Study, device: torch.device) -> None:
    from diffusers import AutoencoderKL

    with unset_fake_temporarily():
        autoencoder = AutoencoderKL(**STABLE_DIFFUSION).eval().requires_grad_(False)
    autoencoder.to(device).decoder.compile(dynamic=True)
    dtype = decode_dtype(study.config["sampling"]["precision"], device)
    side = study.latent_size
    z = torch.zeros(DECODED, STABLE_DIFFUSION["latent_channels"], side, side, device=device)
    with torch.inference_mode(), autocast(device, dtype):
        autoencoder.decode(z)


def made(study: Study, variant: str, device: torch.device) -> DiT:
    """The row's model with its compressions and DEPTH blocks, for inference.

    Raises OtherGpu where the device cannot run it.
    """
    operations = study.operations(variant)
    for options in operations:
        if need := COMPRESSION.build(options).unsupported(device):
            raise OtherGpu(f"{options['name']} {need}")
    with unset_fake_temporarily():
        model = build_model(study.structure(variant) | {"depth": DEPTH}, seed=0)
        model = compress(model, operations)
    return model.to(device).eval()
