"""One timer for each kind of work that a plan counts: the steps' own code, on made-up data.

A timer returns seconds of an image, or of an image in a step of a training or of a sampler. Weights
are drawn at random and images are black: how long they take does not depend on their values. The
shortest of a few calls counts: it is what the machine can do, whatever else it does.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from slimdit.compute.compiler import compiles
from slimdit.data.autoencoders import (
    decode_images,
    encode_dtype,
    encode_moments,
    load_autoencoder,
    to_model_range,
)
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.image_decoder import decode_dtype
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.evaluation.features import build_extractor
from slimdit.models.build import build_model, compress
from slimdit.models.dit import DiT
from slimdit.profiling.latency import clock_s, interleaved_times_s
from slimdit.study.study import Study, identity
from slimdit.training import objective_of
from slimdit.training.autoencoder import build_autoencoder
from slimdit.training.loop import Run
from slimdit.training.objective import TERMS, Hyperparameters

NUM_CALLS = 5  # after one that may compile
LONG_S = 0.25  # of a call that says how long a larger batch takes
NUM_STEPS = 2  # of a sampler
COMPILE_S = 60.0  # of a model for one batch size
NOT_COMPILED = {"compile": "off"}  # else planning would take as long as a small study


def image_s(call: Callable[[int], object], batch_size: int, device) -> float:
    """Of an image in `call(batch_size)`, which does a batch of so many images.

    On a CPU the size grows until a call is no longer short, and the time of a batch is scaled from
    there.
    """
    now_s = functools.partial(clock_s, device)
    size = 1 if device.type == "cpu" else batch_size
    while True:
        batch = functools.partial(call, size)
        (times_s,) = interleaved_times_s([batch], 1, NUM_CALLS, now_s)
        if size == batch_size or min(times_s) >= LONG_S:
            return min(times_s) / size
        size = min(batch_size, 4 * size)


def time_encode(study: Study, device) -> float:
    autoencoder, options = made_up_autoencoder(study, device), study.config["autoencoder"]
    dtype = encode_dtype(options["encode_precision"], device)

    def encode(size: int) -> torch.Tensor:
        x = to_model_range(black_images(study, size), device)
        return encode_moments(autoencoder, x, dtype).cpu()

    return image_s(encode, options["encode_batch_size"], device)


def time_decode(study: Study, device) -> float:
    autoencoder, options = made_up_autoencoder(study, device), study.config["autoencoder"]
    side, sampling = study.latent_size, study.config["sampling"]
    dtype = decode_dtype(sampling["precision"], device)

    def decode(size: int) -> np.ndarray:
        z = torch.zeros(size, options["latent_channels"], side, side, device=device)
        return decode_images(autoencoder, z, [0.0], [1.0], dtype)

    return image_s(decode, sampling["batch_size"], device)


def time_train(study: Study, device, variant: str) -> float:
    structure, training = study.structure(variant), study.training(variant)
    hyper = Hyperparameters(**identity(training) | NOT_COMPILED)
    model = made_up(study, variant).to(device).train()
    run = Run(model, TERMS, 0.0, hyper.ema_decay)
    name, distillation = study.teacher(variant), study.distillation(variant)
    teacher = name and made_up(study, name).to(device).eval()
    latent_shape = structure["in_channels"], structure["input_size"], structure["input_size"]

    @functools.cache
    def gradients_of(size: int):
        cache = SimpleNamespace(  # what `LatentBatches` reads of a `LatentCache`
            moments=np.ones((size, 2, 2, *latent_shape), np.float16),
            labels=np.arange(size) % structure["num_classes"],
            manifest={"shift": [0.0], "scale": [1.0]},
        )
        batches = LatentBatches(cache, size, hyper.horizontal_flip, 0, device)
        of_size = dataclasses.replace(hyper, batch_size=size)
        micro_batch_size = training["micro_batch_size"]
        return objective_of(model, of_size, batches, 0, teacher, distillation, micro_batch_size)

    return image_s(
        lambda size: run.update(*gradients_of(size)(run.step)), training["batch_size"], device
    )


def time_denoise(study: Study, device, variant: str) -> float:
    """A full step of the sampler, guided where some of the row's are."""
    model = made_up(study, variant).eval()
    sampling = study.sampling(variant)
    options = sampling | {"steps": NUM_STEPS, "guidance_interval": None, "cache": None}
    options |= NOT_COMPILED
    if device.type == "cpu":
        options["batch_size"] = 1  # a smaller batch than the sampler's is not padded
    guide = study.guide(variant)
    guiding = guide and made_up(study, guide).eval()
    sampler = LatentSampler(model, options, study.num_timesteps(variant), device, guiding)

    def sample(size: int) -> torch.Tensor:
        return sampler.latents(np.arange(size), np.arange(size) % model.num_classes)

    return image_s(sample, sampling["batch_size"], device) / NUM_STEPS


def time_features(study: Study, device) -> float:
    extractor = build_extractor(**study.evaluation["extractor"])
    return image_s(
        lambda size: extractor.batch_features(black_images(study, size)),
        study.evaluation["batch_size"],
        device,
    )


def black_images(study: Study, count: int) -> np.ndarray:
    """uint8 (count, H, W, 3)."""
    size = study.config["data"]["image_size"]
    return np.zeros((count, size, size, 3), np.uint8)


def compile_s(options: dict, device) -> float:
    return COMPILE_S * compiles(options["compile"], device)


def made_up(study: Study, variant: str) -> DiT:
    """The row's model with weights that are drawn."""
    return compress(build_model(study.structure(variant), seed=0), study.operations(variant))


def made_up_autoencoder(study: Study, device):
    """The source, or one of the structure that the study trains."""
    options = study.config["autoencoder"]
    if not options["train"]:
        return load_autoencoder(options["source"], options["revision"], device)
    sizes = options["train"]["channels"], options["latent_channels"]
    model = build_autoencoder(*sizes, study.config["data"]["image_size"], seed=0)
    return model.to(device).eval()


TIMERS = {
    "encode": time_encode,
    "decode": time_decode,
    "train": time_train,
    "denoise": time_denoise,
    "features": time_features,
    # Assumed, not measured.
    "compile": lambda study, device: COMPILE_S,
    "compile-train": lambda study, device, row: compile_s(study.training(row), device),
    "compile-sample": lambda study, device, row: compile_s(study.sampling(row), device),
}
