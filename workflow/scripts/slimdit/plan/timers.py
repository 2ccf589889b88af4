"""One timer for each kind of work that a plan counts: the rules' own code, on made-up data.

A timer is given the options of a `Timing` and a device, and returns what `Timed` holds. Weights
are drawn at random: how long they take does not depend on their values.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.plan.clock import Timed, fastest_s, seconds_of, time_batches, time_images
from slimdit.storage.files import sha256_of, write_csv

DENOISING_STEPS = 2
NUM_PICTURES = 20
MOST_SAMPLES = 2000  # whose metrics are computed in seconds
START = "import sys, snakemake.script, torch, diffusers; torch.zeros(1, device=sys.argv[1])"
STABLE_DIFFUSION = (128, 256, 512, 512)  # widths of its autoencoder


def time_start(of: dict, device) -> Timed:
    """A process that imports what a job imports and wakes the device; raises InputError where it
    fails."""
    command = [sys.executable, "-c", START, device.type]

    def start():
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            words = process.stderr.strip().rsplit("\n", 1)[-1] or f"code {process.returncode}"
            raise InputError(f"a job's process does not start ({words})")

    return Timed(fastest_s(start, device))


def time_cut(of: dict, device) -> Timed:
    """The rule with one crop of each photograph, which is read once, and with more."""
    from cut_photos import cut_photos

    def cut(num_crops):
        photos = json.dumps(of["photos"] | {"crops_per_photo": num_crops})
        with tempfile.TemporaryDirectory() as folder:
            cut_photos(Path(folder) / "images", Path(folder) / "cut.json", photos, 0, "")

    cut(1)  # what it imports
    few_s, many_s = (fastest_s(lambda n=n: cut(n), device) for n in (1, 1 + NUM_PICTURES))
    num_more = NUM_PICTURES * len(of["photos"]["names"])
    return Timed(max(0.0, many_s - few_s) / num_more, once_s=few_s)


def time_read(of: dict, device) -> Timed:
    from slimdit.data.subset import read_image

    size = of["image_size"]
    with tempfile.TemporaryDirectory() as folder:
        rows = made_up_rows(folder, size)
        seconds = fastest_s(lambda: [read_image(row, folder, size) for row in rows], device)
    return Timed(seconds / len(rows), note=f"of images of {size} pixels")


def time_train_autoencoder(of: dict, device) -> Timed:
    """The rule with two numbers of steps: the difference is of steps alone."""
    from train_autoencoder import train_autoencoder

    training = of["training"] | {"log_every_steps": NUM_PICTURES}
    size = training["crop_size"]

    def train(folder, steps):
        train_autoencoder(
            subset=folder / "subset.csv",
            **{name: folder / name for name in ("weights", "model_config", "report")},
            images_root=folder,
            image_size=size,
            latent_channels=of["latent_channels"],
            training=json.dumps(training | {"steps": steps}),
            save_every_steps=steps,
            state=Path(tempfile.mkdtemp(dir=folder)),  # another, or it would go on where it was
            code="",
        )

    with tempfile.TemporaryDirectory() as name, silence():
        folder = Path(name)
        rows = made_up_rows(folder, size)
        write_csv(folder / "subset.csv", list(rows[0]), rows)
        train(folder, 1)
        short_s, long_s = (
            fastest_s(lambda steps=steps: train(folder, steps), device)
            for steps in (2, 2 + NUM_PICTURES)
        )
    return Timed(max(0.0, long_s - short_s) / NUM_PICTURES)


def time_train(of: dict, device) -> Timed:
    from slimdit.data.latents import LatentBatches
    from slimdit.models.build import build_model
    from slimdit.training.loop import Run
    from slimdit.training.objective import TERMS, Hyperparameters, Objective

    torch.set_float32_matmul_precision("high")
    structure, teacher = of["structure"], of["teacher"]

    def at(size):
        hyper = Hyperparameters(
            steps=0,
            batch_size=size,
            learning_rate=0.0,
            adam_betas=(0.9, 0.999),
            weight_decay=0.0,
            ema_decay=0.999,
            label_dropout=0.1,
            balance_weight=0.01,
            log_every_steps=1,
            **{key: of[key] for key in ("horizontal_flip", "num_timesteps")},
            **{key: of[key] for key in ("precision", "compile")},
        )
        model = build_model(structure, seed=0).to(device).train()
        run = Run(model, TERMS, hyper.learning_rate, hyper.ema_decay)
        teaches = teacher and build_model(teacher, seed=1).to(device).eval().requires_grad_(False)
        latents = made_up_latents(structure, size)
        batches = LatentBatches(latents, size, hyper.horizontal_flip, 0, device)
        objective = Objective(model, hyper, batches, 0, teaches, 0.3, of["micro_batch_size"])
        return lambda: run.update(*objective(run.step))

    return time_batches(at, of["batch_size"], device)


def time_denoise(of: dict, device) -> Timed:
    """One step of the sampler for a batch, with guidance."""
    from slimdit.diffusion.latent_sampler import Generator

    torch.set_float32_matmul_precision("high")
    model = made_up_model(of)
    # Not padded: a batch is as large as it is asked for.
    sampling = of | {"steps": DENOISING_STEPS, "seed": 0, "batch_size": 1}
    generator = Generator(model, sampling, of["num_timesteps"], device)

    def at(size):
        indices = np.arange(size)
        return lambda: generator.latents(indices, indices % model.num_classes)

    timed = time_batches(at, of["batch_size"], device)
    return replace(timed, wall_s=timed.wall_s / DENOISING_STEPS, once_s=0.0)


def time_forward(of: dict, device) -> Timed:
    from slimdit.compute.precision import chosen_dtype
    from slimdit.models.inference_weights import store_weights
    from slimdit.profiling.latency import forward, random_inputs

    torch.set_float32_matmul_precision("high")
    model = made_up_model(of).to(device)
    dtype = chosen_dtype(of["precision"], model.hidden_size, device)
    store_weights(model, dtype)

    def at(size):
        inputs = random_inputs(model, size, device)
        return lambda: forward(model, inputs, dtype)

    return time_batches(at, of["batch_size"], device)


def time_compile_blocks(of: dict, device) -> Timed:
    """The first forward pass of a compiled model, with nothing kept from compilations before."""
    from slimdit.profiling.latency import cannot_compile, compile_blocks, random_inputs

    if reason := cannot_compile(device):
        return Timed(None, note=reason)
    model = made_up_model(of).to(device)
    compile_blocks(model)
    size = of["batch_size"] if device.type == "cuda" else 1
    inputs = random_inputs(model, size, device)
    with torch.compiler.config.patch(force_disable_caches=True), torch.inference_mode():
        seconds = seconds_of(lambda: model(*inputs), device)
    return Timed(seconds, note="of one model, taken for every model and batch size")


def time_encode(of: dict, device) -> Timed:
    from slimdit.data.autoencoders import encode_moments, to_model_range

    autoencoder, note = made_up_autoencoder(of, device)
    pixels = of["image_size"]

    def at(size):
        x = to_model_range(made_up_images(size, pixels), device)
        return lambda: encode_moments(autoencoder, x).cpu()

    return replace(time_images(at, of["batch_size"], device), note=note)


def time_decode(of: dict, device) -> Timed:
    from slimdit.data.autoencoders import decode_images

    autoencoder, note = made_up_autoencoder(of, device)
    side, channels = of["image_size"] // of["downsample_factor"], of["latent_channels"]

    def at(size):
        latents = torch.zeros(size, channels, side, side, device=device)
        unit = [1.0] * channels
        return lambda: decode_images(autoencoder, latents, unit, unit)

    return replace(time_images(at, of["batch_size"], device), note=note)


def time_features(of: dict, device) -> Timed:
    from slimdit.evaluation.features import build_extractor

    extractor = build_extractor(**of["extractor"])

    def at(size):
        images = made_up_images(size, of["image_size"])
        return lambda: extractor.batch_features(images)

    return time_images(at, of["batch_size"], device)


def time_metrics(of: dict, device) -> Timed:
    from slimdit.evaluation.metrics import linear_probe
    from slimdit.evaluation.quality import quality

    reference, samples = made_up_features(of)

    def measure():
        quality(reference, samples, **of["measures"])
        linear_probe(reference["pooled"], reference["labels"])

    return Timed(fastest_s(measure, device))


def time_difference(of: dict, device) -> Timed:
    from slimdit.evaluation.metrics import paired_difference

    reference, samples = made_up_features(of)
    other = made_up_features(of)[1]["pooled"] + 1
    return Timed(
        fastest_s(
            lambda: paired_difference(
                samples["pooled"], other, reference["pooled"], 0, samples["labels"]
            ),
            device,
        )
    )


def made_up_model(of: dict):
    from slimdit.models.build import build_model, compress

    return compress(build_model(of["structure"], seed=0), of["operations"]).eval()


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
    """Smooth pictures with some noise, as files of which compress like photographs."""
    random = stream(0, "images")
    ramp = np.linspace(0, 200, size)[:, None, None]
    noise = random.integers(0, 32, (count, size, size, 3))
    return (ramp + noise).astype(np.uint8)


def made_up_rows(folder: str | Path, size: int) -> list[dict[str, str]]:
    """Rows of a subset.csv of pictures that are written to `folder`."""
    rows = []
    for index, picture in enumerate(made_up_images(NUM_PICTURES, size)):
        path = Path(folder) / f"{index}.png"
        Image.fromarray(picture).save(path)
        split = "train" if index else "held_out"
        rows.append({"path": path.name, "sha256": sha256_of(path), "split": split})
    return rows


def made_up_autoencoder(of: dict, device):
    """An autoencoder of the source's structure, and a note where the source is not here."""
    from diffusers import AutoencoderKL
    from huggingface_hub import try_to_load_from_cache

    from slimdit.data.autoencoders import WEIGHTS, load_autoencoder
    from slimdit.training.autoencoder import build_autoencoder

    source, revision = of["source"], of["revision"]
    if of["channels"]:
        model = build_autoencoder(of["channels"], of["latent_channels"], of["image_size"], seed=0)
        return model.to(device).eval().requires_grad_(False), None
    if Path(source).is_dir() or try_to_load_from_cache(source, WEIGHTS, revision=revision):
        return load_autoencoder(source, revision, device), None
    if of["downsample_factor"] != 2 ** (len(STABLE_DIFFUSION) - 1):
        raise InputError(f"{source} is not on this machine")
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(STABLE_DIFFUSION),
        up_block_types=("UpDecoderBlock2D",) * len(STABLE_DIFFUSION),
        block_out_channels=STABLE_DIFFUSION,
        layers_per_block=2,
        latent_channels=of["latent_channels"],
        norm_num_groups=32,
        sample_size=of["image_size"],
    )
    note = (
        f"{source} is not on this machine: random weights in the shape of Stable Diffusion's "
        "autoencoder"
    )
    return model.to(device).eval().requires_grad_(False), note


def made_up_features(of: dict) -> tuple[dict, dict]:
    """Features of a reference and of samples; raises InputError for too many to take seconds."""
    count, (pooled, spatial) = of["num_samples"], of["widths"]
    if count > MOST_SAMPLES:
        raise InputError(f"metrics of {count} samples take minutes")

    def normal(what, number, width):
        return stream(0, what).standard_normal((number, width), np.float32)

    reference = {
        "pooled": normal("reference", of["num_reference"], pooled),
        "spatial": normal("spatial reference", of["num_reference"], spatial),
        "labels": np.arange(of["num_reference"]) % of["num_classes"],
        "train_pooled": normal("training", of["num_train"], pooled),
        "held_out_pooled": normal("held out", of["num_held_out"], pooled),
    }
    samples = {
        "pooled": normal("samples", count, pooled),
        "spatial": normal("spatial samples", count, spatial),
        "labels": np.arange(count) % of["num_classes"],
        "probabilities": np.full((count, 1000), 1e-3),
    }
    return reference, samples


def silence():
    """Without the progress bars of what is run within: they look whether stderr is a terminal."""
    return contextlib.redirect_stderr(io.StringIO())


TIMERS = {
    "start": time_start,
    "cut": time_cut,
    "read": time_read,
    "train_autoencoder": time_train_autoencoder,
    "train": time_train,
    "denoise": time_denoise,
    "forward": time_forward,
    "compile_blocks": time_compile_blocks,
    "encode": time_encode,
    "decode": time_decode,
    "features": time_features,
    "metrics": time_metrics,
    "difference": time_difference,
}
