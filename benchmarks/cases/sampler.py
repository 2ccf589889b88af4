"""The whole sampler, from noise to latents, with guidance."""

import numpy as np
import torch
from models import BATCH_SIZE, made_model
from plain.diffusion import PlainDiffusion
from plain.transformer import PlainTransformer
from ratios import ROUNDED, matmuls_alone, speedup_apart, tolerance_of
from sides import Side

from slimdit.compute.precision import name_of
from slimdit.diffusion.latent_sampler import LatentSampler, noise_for
from slimdit.diffusion.timesteps import linspace
from slimdit.models.dit import DiT
from slimdit.profiling.cost import count_macs
from slimdit.study.study import Study

NUM_STEPS = 6
SAMPLING = {
    "sampler": "ddim",
    "steps": NUM_STEPS,
    "timesteps": "linspace",
    "guidance_scale": 1.5,
    "guided_channels": "all",
    "guidance_interval": None,
    "guide": None,
    "cache": None,
    "seed": 0,
    "batch_size": BATCH_SIZE,
    "compile": "on",
}
INDICES = np.arange(BATCH_SIZE)


def sampler(study: Study, dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """S2-base, each step one compiled graph; its latents are equal unless in bfloat16."""
    result = against_plain(study, "S2-base", dtype, num_runs, device, tolerance_of(dtype))
    macs = NUM_STEPS * 2 * BATCH_SIZE * count_macs(made_model(study, "S2-base", device))
    return result | matmuls_alone(macs, dtype, device, result["reference_s"])


def int8_sampler(study: Study, num_runs: int, device: torch.device) -> dict:
    """The same with Q8dyn-S2, whose latents are others within int8's rounding."""
    return against_plain(study, "Q8dyn-S2", torch.float32, num_runs, device, ROUNDED)


def against_plain(
    study: Study,
    variant: str,
    dtype: torch.dtype,
    num_runs: int,
    device: torch.device,
    tolerance: float,
) -> dict:
    result = speedup_apart(
        Side(plain_sampler, study, device),
        Side(study_sampler, study, variant, dtype, device),
        num_runs,
        tolerance,
    )
    return {
        "what": f"sampler of {variant} in {name_of(dtype)} against S2-base's plain one in float32",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        "num_steps": NUM_STEPS,
        "reference_images_per_s": BATCH_SIZE / result["reference_s"],
        "ours_images_per_s": BATCH_SIZE / result["ours_s"],
        **result,
    }


def study_sampler(study: Study, variant: str, dtype: torch.dtype, device: torch.device):
    model = made_model(study, variant, device)
    sampling = SAMPLING | {"precision": name_of(dtype)}
    generator = LatentSampler(model, sampling, num_timesteps(study), device)
    return lambda: [generator.latents(INDICES, labels_of(model))]


def plain_sampler(study: Study, device: torch.device):
    """The plain sampler of S2-base from the same noise."""
    model = made_model(study, "S2-base", device)
    reference = PlainTransformer(model)
    count = num_timesteps(study)
    chain = PlainDiffusion(count, linspace(count, NUM_STEPS))
    shape = (model.in_channels, model.input_size, model.input_size)
    start = torch.from_numpy(noise_for(SAMPLING["seed"], "image/start", INDICES, shape)).to(device)
    labels = torch.from_numpy(labels_of(model)).to(device)
    return lambda: [chain.ddim(reference, start, labels, SAMPLING["guidance_scale"])]


def num_timesteps(study: Study) -> int:
    return study.config["training"]["num_timesteps"]


def labels_of(model: DiT) -> np.ndarray:
    return INDICES % model.num_classes
