"""What is run of every row on the fake device, by the library's own code."""

import itertools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from subjects import ROOT, load_config
from torch._subclasses.fake_tensor import unset_fake_temporarily

from fake_cuda.device import fake_cuda
from fake_cuda.waits import SCRIPTS, Waits
from slimdit.compute import devices
from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.data import autoencoders, latents
from slimdit.diffusion import latent_sampler
from slimdit.diffusion.caches import CACHES
from slimdit.diffusion.image_decoder import decode_dtype
from slimdit.diffusion.loss_terms import TERMS
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.evaluation.features import efficientnet_lite0
from slimdit.jobs import provenance
from slimdit.models.build import compress, empty_model
from slimdit.models.component import store_by_precision
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.prune_heads import PruneHeads
from slimdit.models.compression.pruning import taylor_scores
from slimdit.models.compression.quantization import Quantization
from slimdit.models.dit import DiT
from slimdit.profiling import energy, latency, peak_memory, roofline
from slimdit.study.study import Study, identity
from slimdit.training import calibration, held_out_loss, objective, objective_of
from slimdit.training.autoencoder import build_autoencoder
from slimdit.training.loop import Run

OVERLAYS = ["config.yaml", *(f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml"))]
STUDIES = {study.name: study for study in map(Study, map(load_config, sorted(OVERLAYS)))}
CAPABILITIES = ((8, 0), (8, 9), (9, 0), (12, 0))
HOPPER = (9, 0)
SIZES = (2, 256)  # images of a forward pass
BATCH_SIZE, MICRO_BATCH_SIZE = 6, 4
SMALL_BATCH, LARGE_BATCH = 4, 64  # of a sampling or a pass: as one graph of kernels, and not
STABLE_DIFFUSION = {  # the structure of its autoencoder
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


class Case(NamedTuple):
    """`run` of a row of a study on a device of a capability."""

    run: Callable
    study: str
    row: str
    capability: tuple[int, int] = HOPPER

    def __str__(self) -> str:
        major, minor = self.capability
        return f"{self.run.__name__} of {self.study}/{self.row} on {major}.{minor}"


def cases() -> Iterator[Case]:
    """Every row on Hopper, and one of each kind that has kernels of its own on all others."""
    kinds = set()
    for name, study in STUDIES.items():
        for row in study.variants:
            yield from (Case(run, name, row) for run in runs_of(study, row))
            kind = (canonical_json(study.structure(row)["mlp"]), *quantizations_of(study, row))
            if (routes_tokens(study, row) or len(kind) > 1) and kind not in kinds:
                kinds.add(kind)
                runs = [infer, train] if row in study.trained else [infer]
                others = [each for each in CAPABILITIES if each != HOPPER]
                yield from (Case(run, name, row, each) for each in others for run in runs)
        first = next(iter(study.variants))
        yield from (Case(run, name, first) for run in (sample_all, autoencode, judge))
    yield from (Case(run, name, first) for run in (extract, measure))


def runs_of(study: Study, row: str) -> list[Callable]:
    runs = [infer]
    if row in study.trained:
        runs.append(train)
        if routes_tokens(study, row) or study.teacher(row) or row == study.trained[0]:
            runs.append(train_in_parts)
    return runs


def routes_tokens(study: Study, row: str) -> bool:
    return "moe" in study.components(row)["mlp"]


def quantizations_of(study: Study, row: str) -> list[str]:
    names = [options["name"] for options in study.operations(row)]
    return [name for name in names if issubclass(COMPRESSION[name], Quantization)]


def reports() -> Iterator[tuple[Case, dict]]:
    """Of every case; one that is in all that matters as an earlier one ends as that one did."""
    known = {}
    for case in cases():
        study, row = STUDIES[case.study], case.row
        rows = filter(None, (row, study.teacher(row), study.guide(row)))
        what = [structure_of(study, each) | {"num_classes": None} for each in rows]
        how = [study.operations(row), study.block(row).get("sampling")]
        key = canonical_json([case.run.__name__, case.capability, what, how])
        if case.run in (autoencode, judge) or key not in known:
            known[key] = report(case)
        yield case, known[key]


def report(case: Case) -> dict:
    """{"problem": what the case ended with, or None, "waits", "operators": by name}."""
    waits, problem = Waits(), None
    uncompiled = mock.patch.object(torch, "compile", lambda function, **_: function)
    try:
        with uncompiled, fake_cuda(case.capability) as device:
            case.run(STUDIES[case.study], case.row, device, waits)
    except Exception as error:
        problem = f"{type(error).__name__}: {error} at {place_of(error)}"
    return {"problem": problem, "waits": waits.found, "operators": sorted(waits.operators)}


def place_of(error: Exception) -> str:
    """The last line of the library, or else of the tests, that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(SCRIPTS)] or frames
    return f"{own[-1].filename.removeprefix(f'{SCRIPTS}/')}:{own[-1].lineno}"


def structure_of(study: Study, row: str) -> dict:
    """With a block, with two, of which one may be dense in a mixture, or with those that stay."""
    kept = [each["keep_blocks"] for each in study.operations(row) if "keep_blocks" in each]
    return study.structure(row) | {"depth": max([1 + routes_tokens(study, row), *kept])}


def model_of(study: Study, row: str, device: torch.device) -> DiT:
    """Made on the CPU, as a checkpoint's is."""
    with unset_fake_temporarily():
        model = empty_model(structure_of(study, row))
        of_cpu = cache_of(study, row), study.num_timesteps(row), torch.device("cpu")
        loss = calibration.CalibrationLoss(*of_cpu)
        model = compress(model, study.operations(row), loss)
    return model.to(device)


def infer(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """Passes of two sizes, as speed is measured, and a sampling by the row's own settings, where a
    compiled step is a graph of kernels."""
    if any(COMPRESSION.build(each).unsupported(device) for each in study.operations(row)):
        return
    model = model_of(study, row, device).eval()
    dtype = store_by_precision(model, "auto", device)
    assert dtype == torch.bfloat16
    for size in SIZES:
        inputs = latency.random_inputs(model, size, device)
        with waits.watched():
            latency.forward(model, inputs, dtype)
    settings = {"compile": "on", "batch_size": SMALL_BATCH, "steps": 1, "cache": None}
    sample(model, study, row, settings, device, waits)


CACHE_OPTIONS = {"listed": {"full_steps": [0, 1]}, "calibrated": {"max_error": 0.5}}


def sample_all(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """By every sampler and with every cache, with and without guidance."""
    model = model_of(study, row, device)
    named = [*((name, {}, None) for name in SAMPLERS), ("ddim", {"eta": 0.5}, None)]
    named += [
        ("ddim", {}, {"name": name, "of": of, **CACHE_OPTIONS.get(name, {})})
        for name, of in itertools.product(CACHES, ("blocks", "stack"))
    ]
    for (name, options, cache), scale in itertools.product(named, (1.0, 1.5)):
        settings = {"sampler": name, "options": options, "guidance_scale": scale, "cache": cache}
        settings["steps"] = 4 if cache else 2  # the third is the first from any cache
        for more in ({"compile": "off"}, {"compile": "on", "batch_size": LARGE_BATCH}):
            sample(model, study, row, settings | more, device, waits)


def sample(
    model: DiT, study: Study, row: str, settings: dict, device: torch.device, waits: Waits
) -> None:
    """What comes before the first step may wait."""
    settings = study.sampling(row) | settings
    guide = study.guide(row)
    guiding = guide and model_of(study, guide, device).eval()
    num_timesteps = study.num_timesteps(row)
    sampler = latent_sampler.LatentSampler(model, settings, num_timesteps, device, guiding)
    sampler.step = forgetting_the_start(sampler.step, waits)
    indices = np.arange(SMALL_BATCH)
    with waits.watched():
        found = sampler.latents(indices, indices % model.num_classes)
    assert found.device == device and len(found) == SMALL_BATCH


def train(
    study: Study, row: str, device: torch.device, waits: Waits, micro_batch_size: int | None = None
) -> None:
    """A step of a training."""
    options = study.training(row) | {"batch_size": BATCH_SIZE, "compile": "off"}
    hyper = objective.Hyperparameters(**identity(options))
    model = model_of(study, row, device).train()
    run = Run(model, TERMS, hyper.learning_rate, hyper.ema_decay, hyper.weight_decay)
    name = study.teacher(row)
    teacher = name and model_of(study, name, device).eval().requires_grad_(False)
    batches = latents.LatentBatches(
        cache_of(study, row), BATCH_SIZE, hyper.horizontal_flip, 0, device
    )
    gradients = objective_of(
        model, hyper, batches, 0, teacher, study.distillation(row), micro_batch_size
    )
    with waits.watched():
        run.update(*gradients(0))


def train_in_parts(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """A step of a training in micro-batches, of latents that do not fit on the GPU."""
    with mock.patch.object(torch.cuda, "mem_get_info", lambda device: (0, 0)):
        train(study, row, device, waits, MICRO_BATCH_SIZE)


def forgetting_the_start(step: Callable, waits: Waits) -> Callable:
    """`step`, whose first call forgets the waits before it."""
    before = [waits.found.copy()]

    def first(*inputs):
        if before:
            waits.found[:] = before.pop()
        return step(*inputs)

    return first


def autoencode(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """Images to latents and back in float16, and in float32 where that gives no numbers."""
    options, side = study.config["autoencoder"], study.config["data"]["image_size"]
    channels = options["latent_channels"]
    if options["train"]:
        model = build_autoencoder(options["train"]["channels"], channels, side, seed=0)
    else:
        from diffusers import AutoencoderKL

        model = AutoencoderKL(latent_channels=channels, **STABLE_DIFFUSION)
    model = model.to(device).eval()
    for is_finite in (True, False):
        with Waits(is_finite).watched():
            x = autoencoders.to_model_range(np.zeros((2, side, side, 3), np.uint8), device)
            dtype = autoencoders.encode_dtype("auto", device)
            moments = autoencoders.encode_moments(model, x, dtype)
            latent_shape = (channels, study.latent_size, study.latent_size)
            assert moments.device == device and moments.shape == (2, 2, *latent_shape)
            units = [0.0] * channels, [1.0] * channels
            dtype = decode_dtype("auto", device)
            images = autoencoders.decode_images(model, moments[:, 0], *units, dtype)
            assert images.shape == (2, side, side, 3) and images.dtype == np.uint8


def extract(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """Features of images."""
    with unset_fake_temporarily():
        weights = efficientnet_lite0._read_weights()
    with mock.patch.object(efficientnet_lite0, "_read_weights", lambda: weights):
        extractor = efficientnet_lite0.EfficientNetLite0()
    pooled, spatial = extractor.batch_features(np.zeros((2, 32, 32, 3), np.uint8))
    assert len(pooled) == len(spatial) == len(extractor.class_logits(pooled)) == 2


def judge(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """Losses on latents, and scores by their gradients."""
    model, cache = model_of(study, row, device).eval(), cache_of(study, row)
    num_timesteps = study.num_timesteps(row)
    with Waits().watched():
        loss = calibration.CalibrationLoss(cache, num_timesteps, device)
        assert loss(model) is not None and len(loss.predictions(model)) == 2
        heads = PruneHeads(1).groups(model.blocks[0])
        assert len(taylor_scores(model, heads, loss)) == heads.count
        held_out_loss.held_out_losses(
            model, cache, 2, num_timesteps, BATCH_SIZE, torch.bfloat16, device
        )


def measure(study: Study, row: str, device: torch.device, waits: Waits) -> None:
    """The device, time, memory and the machine's peaks; compiled passes run uncompiled."""
    assert devices.device() == device
    assert provenance.arithmetic()
    model = model_of(study, row, device).eval()
    with (
        mock.patch.object(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_120"]),
        mock.patch.object(torch.cuda, "get_device_capability", lambda device: (7, 0)),
        pytest.raises(InputError, match="capability 7"),
    ):
        devices.device()
    energy.energy_counter(device)
    for size in (SMALL_BATCH, LARGE_BATCH):
        inputs = latency.random_inputs(model, size, device)
        with latency.compiled(model, size) as (program, _):
            latency.forward(program, inputs, torch.bfloat16)

    def call():
        latency.forward(model, inputs, torch.bfloat16)

    assert peak_memory.peak_memory(model, call, device)["peak_memory_bytes"] is not None
    small = mock.patch.dict(roofline.MATRIX_SIDE, cuda=8)
    with small, mock.patch.object(roofline, "PEAK_S", 1e-9):
        roofline.measured_peaks(device, torch.bfloat16)


def cache_of(study: Study, row: str) -> SimpleNamespace:
    """What is read of a `LatentCache`, of two images."""
    structure = structure_of(study, row)
    shape = structure["in_channels"], structure["input_size"], structure["input_size"]
    return SimpleNamespace(
        moments=np.ones((2, 2, 2, *shape), np.float16),
        labels=np.arange(2),
        manifest={"shift": [0.0] * shape[0], "scale": [1.0] * shape[0]},
    )
