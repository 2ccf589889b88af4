"""The autoencoder's decoder in half precision, and the memory that a batch of images takes."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from gpu_checks.bench import Bench
from gpu_checks.check import Check
from slimdit.core.randomness import stream
from slimdit.data.autoencoders import decode_images
from slimdit.diffusion.image_decoder import decode_dtype
from slimdit.profiling.latency import clock_s
from slimdit.profiling.peak_memory import peak_memory

STABLE_DIFFUSION = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
TINY = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
STD = 0.5  # of decoded images, in a range of -1 to 1
GREY_LEVELS = 3
MEMORY_GIB = 12  # half of what a card of 24 GB has


def checks(bench: Bench) -> Iterator[Check]:
    bounds = {"grey_level_difference": GREY_LEVELS, "peak_memory_gib": MEMORY_GIB}
    yield Check("Stable Diffusion's", partial(decoder, bench), bounds)


def decoder(bench: Bench) -> dict:
    """A batch of the study's, in the decoder's type and in float32."""
    study, on = bench.study, bench.on
    model, sampling = autoencoder(bench), study.sampling(next(iter(study.variants)))
    channels, side = model.config.latent_channels, study.latent_size
    shape = (bench.either(sampling["batch_size"], 2), channels, side, side)
    z = torch.from_numpy(stream(0, "latents").standard_normal(shape, "float32")).to(on)
    with torch.inference_mode():
        model.decoder.conv_out.weight *= STD / model.decode(z[:1]).sample.std()
    units = [0.0] * channels, [1.0] * channels
    dtype = decode_dtype(sampling["precision"], on)
    decode = partial(decode_images, model, z, *units)
    exact, found = (images.astype(np.int64) for images in (decode(), decode(dtype)))
    started_s = clock_s(on)
    decode(dtype)
    batch_s = clock_s(on) - started_s
    memory = peak_memory(model, partial(decode, dtype), on)
    return {
        "grey_level_difference": int(abs(found - exact).max()),
        "grey_level_std": float(exact.std()),
        "peak_memory_gib": memory["peak_memory_bytes"] / 2**30,
        "image_ms": 1e3 * batch_s / len(z),
    }


def autoencoder(bench: Bench) -> nn.Module:
    from diffusers import AutoencoderKL

    sizes = bench.either(STABLE_DIFFUSION, TINY)
    num_levels = len(sizes["block_out_channels"])
    torch.manual_seed(0)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * num_levels,
        up_block_types=("UpDecoderBlock2D",) * num_levels,
        latent_channels=bench.study.config["autoencoder"]["latent_channels"],
        sample_size=bench.study.config["data"]["image_size"],
        **sizes,
    )
    return model.to(bench.on).eval().requires_grad_(False)
