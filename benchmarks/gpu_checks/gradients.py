"""The gradients of a training step: against a CPU in float32, and made twice."""

import functools
import tempfile
from collections.abc import Iterator

import torch
from models import random_latents, trained_model
from torch import Tensor

from gpu_checks.bench import CPU, Bench, distilled, mixtures, trained_kinds
from gpu_checks.check import Check
from gpu_checks.experts import relative_error
from slimdit.compute.devices import device, set_deterministic
from slimdit.data.latents import LatentBatches
from slimdit.models.dit import DiT
from slimdit.study.study import Study, identity
from slimdit.training import objective_of
from slimdit.training.objective import Hyperparameters, Objective

BATCH_SIZE, NUM_IMAGES = 4, 64
FORMS = {  # precision and compile of a training
    "float32": ("float32", "off"),
    "bfloat16 compiled": ("bfloat16", "on"),
}
LOSS_AT_MOST = {"float32": 1e-4, "bfloat16 compiled": 1e-3}
GRADIENT_AT_MOST = {"float32": 1e-3, "bfloat16 compiled": 3e-2}
TWICE = {"eager": ("bfloat16", "off"), "compiled": ("bfloat16", "on")}


def objective(
    study: Study, variant: str, batch_size: int, precision: str, compiling: str, on: torch.device
) -> tuple[DiT, Objective]:
    """The row's model and what it is trained by, on random latents."""
    options = {"batch_size": batch_size, "precision": precision, "compile": compiling}
    hyper = Hyperparameters(**identity(study.training(variant)) | options)
    with tempfile.TemporaryDirectory() as folder:
        latents = random_latents(study, folder, NUM_IMAGES)
        batches = LatentBatches(latents, batch_size, hyper.horizontal_flip, 0, on)
    model, teacher = trained_model(study, variant).to(on).train(), study.teacher(variant)
    teacher = teacher and trained_model(study, teacher).to(on).eval().requires_grad_(False)
    distillation = study.distillation(variant)
    return model, objective_of(model, hyper, batches, 0, teacher, distillation)


def gradients(
    study: Study, variant: str, precision: str, compiling: str, on: torch.device
) -> tuple[float, dict[str, Tensor]]:
    """The loss of the first step, and its gradients by parameter, on the CPU."""
    model, ours = objective(study, variant, BATCH_SIZE, precision, compiling, on)
    terms, _ = ours(0)
    named = model.named_parameters()
    return terms[0].item(), {name: p.grad.float().cpu() for name, p in named if p.requires_grad}


def checks(bench: Bench) -> Iterator[Check]:
    study = bench.shallow
    exact = functools.cache(lambda variant: gradients(study, variant, "float32", "off", CPU))

    def measure(variant: str, form: str) -> dict:
        exact_loss, expected = exact(variant)
        loss, found = gradients(study, variant, *FORMS[form], bench.on)
        errors = {name: relative_error(expected[name], found[name]) for name in expected}
        worst = max(errors, key=errors.get)
        return {
            "loss_error": abs(loss / exact_loss - 1),
            "gradient_error": errors[worst],
            "worst_parameter": worst,
        }

    for form in FORMS:
        bounds = {"loss_error": LOSS_AT_MOST[form], "gradient_error": GRADIENT_AT_MOST[form]}
        for variant in [*trained_kinds(study), *distilled(study)]:
            yield Check(f"{variant} {form}", functools.partial(measure, variant, form), bounds)


def repeated_checks(bench: Bench) -> Iterator[Check]:
    """With `deterministic: true` the same bits twice."""
    set_deterministic(True)
    study, on = bench.shallow, device()

    def measure(variant: str, form: str) -> dict:
        (_, first), (_, second) = (gradients(study, variant, *TWICE[form], on) for _ in range(2))
        differ = [name for name in first if not torch.equal(first[name], second[name])]
        return {"num_differing": len(differ), "differing": differ[:3]}

    mixtures_first = sorted(trained_kinds(study), key=lambda name: name not in mixtures(study))
    for form in TWICE:
        for variant in mixtures_first:
            name = f"{variant} {form}"
            yield Check(name, functools.partial(measure, variant, form), {"num_differing": 0})
