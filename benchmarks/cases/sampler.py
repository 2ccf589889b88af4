"""The whole sampler, from noise to latents, with guidance."""

import numpy as np
import torch
from models import BATCH_SIZE, STUDY, made_model
from plain.diffusion import PlainDiffusion
from plain.transformer import PlainTransformer
from ratios import ROUNDED, products_alone, speedup_apart, tolerance_of
from sides import Side

from slimdit.compute.precision import name_of
from slimdit.diffusion.latent_sampler import Generator, noise_for
from slimdit.diffusion.process import respaced_timesteps
from slimdit.profiling.cost import count_macs

NUM_STEPS = 6
NUM_TIMESTEPS = STUDY.config["training"]["num_timesteps"]
SAMPLING = {
    "sampler": "ddim",
    "steps": NUM_STEPS,
    "guidance_scale": 1.5,
    "guided_channels": "all",
    "seed": 0,
    "batch_size": BATCH_SIZE,
    "compile": "on",
}
INDICES = np.arange(BATCH_SIZE)
LABELS = INDICES.copy()


def sampler(dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """S2-base, each step one compiled graph; its latents are equal unless in bfloat16."""
    result = against_plain("S2-base", dtype, num_runs, device, tolerance_of(dtype))
    macs = NUM_STEPS * 2 * BATCH_SIZE * count_macs(made_model("S2-base", device))
    return result | products_alone(macs, dtype, device, result["reference_s"])


def int8_sampler(num_runs: int, device: torch.device) -> dict:
    """The same with the products of Q8dyn-S2, whose latents are others within int8's rounding."""
    return against_plain("Q8dyn-S2", torch.float32, num_runs, device, ROUNDED)


def against_plain(
    variant: str, dtype: torch.dtype, num_runs: int, device: torch.device, tolerance: float
) -> dict:
    result = speedup_apart(
        Side(plain_sampler, device, is_job=False),
        Side(study_sampler, variant, dtype, device, is_job=True),
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


def study_sampler(variant: str, dtype: torch.dtype, device: torch.device):
    sampling = SAMPLING | {"precision": name_of(dtype)}
    generator = Generator(made_model(variant, device), sampling, NUM_TIMESTEPS, device)
    return lambda: [generator.latents(INDICES, LABELS)]


def plain_sampler(device: torch.device):
    """The plain sampler of S2-base from the same noise."""
    model = made_model("S2-base", device)
    reference = PlainTransformer(model)
    chain = PlainDiffusion(NUM_TIMESTEPS, respaced_timesteps(NUM_TIMESTEPS, NUM_STEPS))
    shape = (model.in_channels, model.input_size, model.input_size)
    start = torch.from_numpy(noise_for(SAMPLING["seed"], "image/start", INDICES, shape)).to(device)
    labels = torch.from_numpy(LABELS).to(device)
    return lambda: [chain.ddim(reference, start, labels, SAMPLING["guidance_scale"])]
