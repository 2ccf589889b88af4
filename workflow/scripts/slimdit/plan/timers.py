"""One timer for each kind of work that a plan counts: the steps' own code, on made-up data.

A timer returns the rate of one unit: of an image, or of an image in a step of a training or of a
sampler. Weights are drawn at random: how long they take does not depend on their values. The
shortest of a few calls counts: it is what the machine can do, whatever else it does.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.plan.rates import Rate
from slimdit.storage.files import sha256_of
from slimdit.study.study import Study, identity

TARGET_S = 0.5  # of all calls of one size where each is short
LEAST_CALLS = 3
NUM_STEPS = 2  # of a sampler
NUM_PICTURES = 20
START = "import sys, snakemake.script, torch, diffusers; torch.zeros(1, device=sys.argv[1])"


def image_rate(call_with: Callable[[int], Callable], batch_size: int, device) -> Rate:
    """Of an image in `call_with(batch_size)()`, which does a batch.

    On a CPU the size grows until a call is no longer short, and the time of a batch is scaled from
    there. What the first call, which may compile, takes more than the shortest is done once.
    """
    size = 1 if device.type == "cpu" else batch_size
    while True:
        call = call_with(size)
        first_s = seconds_of(call, device)
        call_s = min(first_s, shortest_s(call, device))
        if size == batch_size or call_s >= TARGET_S / 2:
            break
        size = min(batch_size, max(2 * size, int(size * TARGET_S / call_s)))
    note = "" if size == batch_size else f"in smaller batches than {batch_size}, and scaled"
    return Rate(call_s / size, first_s - call_s, note)


def shortest_s(call: Callable, device) -> float:
    calls: list[float] = []
    while len(calls) < LEAST_CALLS or sum(calls) < TARGET_S:
        calls.append(seconds_of(call, device))
    return min(calls)


def seconds_of(call: Callable, device) -> float:
    started_s = _now_s(device)
    call()
    return _now_s(device) - started_s


def _now_s(device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def time_start(study: Study, device) -> Rate:
    """A process that imports what a job imports and wakes the device."""
    command = [sys.executable, "-c", START, device.type]
    return Rate(shortest_s(lambda: subprocess.run(command, check=True), device))


def time_read(study: Study, device) -> Rate:
    from slimdit.data.subset import read_image

    size, rows = study.config["data"]["image_size"], []
    with tempfile.TemporaryDirectory() as folder:
        for index, picture in enumerate(made_up_images(NUM_PICTURES, size)):
            path = Path(folder) / f"{index}.png"
            Image.fromarray(picture).save(path)
            rows.append({"path": path.name, "sha256": sha256_of(path)})
        seconds = shortest_s(lambda: [read_image(row, folder, size) for row in rows], device)
    return Rate(seconds / len(rows), note=f"of files of {size} pixels")


def time_encode(study: Study, device) -> Rate:
    from slimdit.data.autoencoders import encode_moments, to_model_range

    autoencoder = made_up_autoencoder(study, device)

    def call_with(size):
        x = to_model_range(made_up_images(size, study.config["data"]["image_size"]), device)
        return lambda: encode_moments(autoencoder, x).cpu()

    return image_rate(call_with, study.config["autoencoder"]["encode_batch_size"], device)


def time_decode(study: Study, device) -> Rate:
    from slimdit.data.autoencoders import decode_images

    autoencoder, options = made_up_autoencoder(study, device), study.config["autoencoder"]
    side = study.config["data"]["image_size"] // options["downsample_factor"]
    channels = options["latent_channels"]

    def call_with(size):
        latents = torch.zeros(size, channels, side, side, device=device)
        return lambda: decode_images(autoencoder, latents, [1.0] * channels, [1.0] * channels)

    return image_rate(call_with, study.config["sampling"]["batch_size"], device)


def time_train(study: Study, device, variant: str) -> Rate:
    from slimdit.data.latents import LatentBatches
    from slimdit.models.build import build_model
    from slimdit.training.loop import Run
    from slimdit.training.objective import TERMS, Hyperparameters, Objective

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

    return image_rate(call_with, training["batch_size"], device)


def time_denoise(study: Study, device, variant: str) -> Rate:
    """A step of the sampler."""
    from slimdit.diffusion.latent_sampler import LatentSampler

    torch.set_float32_matmul_precision("high")
    model, sampling = made_up_model(study, variant), study.sampling(variant)
    # Not padded: a batch is as large as it is asked for.
    options = sampling | {"steps": NUM_STEPS, "batch_size": 1}
    num_timesteps = study.training(study.trained_ancestor(variant))["num_timesteps"]
    latent_sampler = LatentSampler(model, options, num_timesteps, device)

    def call_with(size):
        indices = np.arange(size)
        return lambda: latent_sampler.latents(indices, indices % model.num_classes)

    rate = image_rate(call_with, sampling["batch_size"], device)
    return Rate(rate.unit_s / NUM_STEPS, rate.once_s, rate.note)


def time_compile(study: Study, device) -> Rate:
    """The first pass of a compiled model, with nothing kept from compilations before."""
    from slimdit.profiling.latency import cannot_compile, compile_blocks, random_inputs

    if reason := cannot_compile(device):
        raise InputError(reason)
    model = made_up_model(study, study.trained[0]).to(device)
    compile_blocks(model)
    inputs = random_inputs(model, 1, device)
    with torch.compiler.config.patch(force_disable_caches=True), torch.inference_mode():
        seconds = seconds_of(lambda: model(*inputs), device)
    return Rate(seconds, note="of one model, taken for every model and batch size")


def time_features(study: Study, device) -> Rate:
    from slimdit.evaluation.features import build_extractor

    extractor = build_extractor(**study.evaluation["extractor"])

    def call_with(size):
        images = made_up_images(size, study.config["data"]["image_size"])
        return lambda: extractor.batch_features(images)

    return image_rate(call_with, study.evaluation["batch_size"], device)


def made_up_model(study: Study, variant: str):
    from slimdit.models.build import build_model, compress

    model = build_model(study.structure(variant), seed=0)
    return compress(model, study.operations(variant)).eval()


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
    """Smooth pictures with some noise, as files of which compress like photographs; uint8
    (count, size, size, 3)."""
    ramp = np.linspace(0, 200, size)[:, None, None]
    noise = stream(0, "images").integers(0, 32, (count, size, size, 3))
    return (ramp + noise).astype(np.uint8)


def made_up_autoencoder(study: Study, device):
    """The source, or one of the structure that the study trains."""
    from slimdit.data.autoencoders import load_autoencoder
    from slimdit.training.autoencoder import build_autoencoder

    options, image_size = study.config["autoencoder"], study.config["data"]["image_size"]
    if not options["train"]:
        return load_autoencoder(options["source"], options["revision"], device)
    channels, latent_channels = options["train"]["channels"], options["latent_channels"]
    model = build_autoencoder(channels, latent_channels, image_size, seed=0)
    return model.to(device).eval().requires_grad_(False)


TIMERS = {
    "start": time_start,
    "read": time_read,
    "encode": time_encode,
    "decode": time_decode,
    "train": time_train,
    "denoise": time_denoise,
    "compile": time_compile,
    "features": time_features,
}
