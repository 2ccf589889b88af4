"""A training as the rule `train` runs it, of a tiny variant on made-up latents."""

import json

import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, randomized, tiny

from slimdit.study import identity
from slimdit.variants import build_model, save_variant

STEPS = 6
TRAINING = identity(PHOTOS.config["training"]) | {
    "steps": STEPS,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "log_every_steps": 2,
    "precision": "float32",
    "compile": "off",
}


@pytest.fixture
def job(tmp_path):
    """Arguments of `train` for a variant; runs of the same folder share their state."""
    array, manifest = write_latent_cache(tmp_path, num_images=10)

    def arguments(variant, run="run", save_every_steps=3, micro_batch_size=None, **changes):
        folder = tmp_path / run
        folder.mkdir(exist_ok=True)
        teacher = PHOTOS.teacher(variant)
        return {
            "latents": str(array),
            "latents_manifest": str(manifest),
            "checkpoint": str(folder / "checkpoint.safetensors"),
            "losses": str(folder / "losses.csv"),
            "report": str(folder / "training.json"),
            "variant": variant,
            "structure": json.dumps(tiny(PHOTOS.structure(variant))),
            "training": json.dumps(TRAINING | changes),
            "save_every_steps": save_every_steps,
            "micro_batch_size": micro_batch_size,
            "distill": json.dumps(PHOTOS.block(variant).get("distill", {})),
            "seed": 0,
            "state": str(folder / "state"),
            "events": str(folder / "events"),
            "code": "test",
            "teacher": teacher and teacher_checkpoint(tmp_path, teacher),
        }

    return arguments


def teacher_checkpoint(folder, variant):
    path = folder / "teacher.safetensors"
    if not path.exists():
        structure = tiny(PHOTOS.structure(variant))
        model = randomized(build_model(structure), torch.float32, std=0.1)
        save_variant(path, model, structure, [], {})
    return str(path)
