"""One timer for each kind of work that a plan counts: the steps' own code, on made-up data.

A timer returns seconds of an image, or of an image in a step of a training or of a sampler. Weights
are drawn at random: how long they take does not depend on their values. The shortest of a few calls
counts: it is what the machine can do, whatever else it does.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from slimdit.core.randomness import stream
from slimdit.data.autoencoders import (
    decode_images,
    encode_moments,
    load_autoencoder,
    to_model_range,
)
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.evaluation.features import build_extractor
from slimdit.models.build import build_model, compress
from slimdit.study.study import Study, identity
from slimdit.training.autoencoder import build_autoencoder
from slimdit.training.loop import Run
from slimdit.training.objective import TERMS, Hyperparameters, Objective

TARGET_S = 0.5  # of all calls of one size where each is short
LEAST_CALLS = 3
NUM_STEPS = 2  # of a sampler


def image_s(call_with: Callable[[int], Callable], batch_size: int, device) -> float:
    """Of an image in `call_with(batch_size)()`, which does a batch; its first call may compile.

    On a CPU the size grows until a call is no longer short, and the time of a batch is scaled from
    there.
    """
    size = 1 if device.type == "cpu" else batch_size
    while True:
        call = call_with(size)
        call()
        call_s = shortest_s(call, device)
        if size == batch_size or call_s >= TARGET_S / 2:
            return call_s / size
        size = min(batch_size, max(2 * size, int(size * TARGET_S / call_s)))


def shortest_s(call: Callable, device) -> float:
    calls: list[float] = []
    while len(calls) < LEAST_CALLS or sum(calls) < TARGET_S:
        started_s = _now_s(device)
        call()
        calls.append(_now_s(device) - started_s)
    return min(calls)


def _now_s(device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def time_encode(study: Study, device) -> float:
    autoencoder = made_up_autoencoder(study, device)

    def call_with(size):
        x = to_model_range(made_up_images(size, study.config["data"]["image_size"]), device)
        return lambda: encode_moments(autoencoder, x).cpu()

    return image_s(call_with, study.config["autoencoder"]["encode_batch_size"], device)


def time_decode(study: Study, device) -> float:
    autoencoder, options = made_up_autoencoder(study, device), study.config["autoencoder"]
    side = study.config["data"]["image_size"] // options["downsample_factor"]
    channels = options["latent_channels"]

    def call_with(size):
        latents = torch.zeros(size, channels, side, side, device=device)
        return lambda: decode_images(autoencoder, latents, [1.0] * channels, [1.0] * channels)

    return image_s(call_with, study.config["sampling"]["batch_size"], device)


def time_train(study: Study, device, variant: str) -> float:
    torch.set_float32_matmul_precision("high")
    structure, training = study.structure(variant), study.training(variant)
    teacher = study.teacher(variant) and build_model(study.structure(study.teacher(variant)))

    def call_with(size):
        hyper = Hyperparameters(**identity(training) | {"batch_size": size})
        model = build_model(structure, seed=0).to(device).train()
        run = Run(model, TERMS, 0.0, hyper.ema_decay)
        latents = made_up_latents(structure, size)
        batches = LatentBatches(latents, size, hyper.horizontal_flip, 0, device)
        its_teacher = teacher and teacher.to(device).eval().requires_grad_(False)
        micro_batch_size = training["micro_batch_size"]
        objective = Objective(model, hyper, batches, 0, its_teacher, 0.3, micro_batch_size)
        return lambda: run.update(*objective(run.step))

    return image_s(call_with, training["batch_size"], device)


def time_denoise(study: Study, device, variant: str) -> float:
    """A step of the sampler."""
    torch.set_float32_matmul_precision("high")
    model = build_model(study.structure(variant), seed=0)
    model = compress(model, study.operations(variant)).eval()
    sampling = study.sampling(variant)
    # Not padded: a batch is as large as it is asked for.
    options = sampling | {"steps": NUM_STEPS, "batch_size": 1}
    num_timesteps = study.training(study.trained_ancestor(variant))["num_timesteps"]
    latent_sampler = LatentSampler(model, options, num_timesteps, device)

    def call_with(size):
        indices = np.arange(size)
        return lambda: latent_sampler.latents(indices, indices % model.num_classes)

    return image_s(call_with, sampling["batch_size"], device) / NUM_STEPS


def time_features(study: Study, device) -> float:
    extractor = build_extractor(**study.evaluation["extractor"])

    def call_with(size):
        images = made_up_images(size, study.config["data"]["image_size"])
        return lambda: extractor.batch_features(images)

    return image_s(call_with, study.evaluation["batch_size"], device)


def made_up_latents(structure: dict, count: int) -> SimpleNamespace:
    """What `LatentBatches` reads of a `LatentCache` of `count` images."""
    side, channels = structure["input_size"], structure["in_channels"]
    moments = stream(0, "latents").standard_normal((count, 2, 2, channels, side, side), np.float32)
    return SimpleNamespace(
        moments=np.abs(moments).astype(np.float16),
        labels=np.arange(count) % structure["num_classes"],
        manifest={"shift": [0.0] * channels, "scale": [1.0] * channels},
    )


def made_up_images(count: int, size: int) -> np.ndarray:
    """Noise, uint8 (count, size, size, 3)."""
    return stream(0, "images").integers(0, 256, (count, size, size, 3), np.uint8)


def made_up_autoencoder(study: Study, device):
    """The source, or one of the structure that the study trains."""
    options, image_size = study.config["autoencoder"], study.config["data"]["image_size"]
    if not options["train"]:
        return load_autoencoder(options["source"], options["revision"], device)
    channels, latent_channels = options["train"]["channels"], options["latent_channels"]
    model = build_autoencoder(channels, latent_channels, image_size, seed=0)
    return model.to(device).eval().requires_grad_(False)


TIMERS = {
    "encode": time_encode,
    "decode": time_decode,
    "train": time_train,
    "denoise": time_denoise,
    "features": time_features,
}
