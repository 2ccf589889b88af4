"""A training as the rule `train` runs it, of a tiny variant on made-up latents."""

import json
import os
import subprocess
import sys

import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, ROOT, randomized, tiny

from slimdit.jobs.progress import TOLD_EVERY_S
from slimdit.models.build import build_model
from slimdit.models.checkpoint import save_variant
from slimdit.study.study import identity

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
            "structure": tiny(PHOTOS.structure(variant)),
            "training": TRAINING | changes,
            "save_every_steps": save_every_steps,
            "micro_batch_size": micro_batch_size,
            "operations": [],
            "distill": PHOTOS.block(variant).get("distill", {}),
            "seed": 0,
            "state": str(folder / "state"),
            "events": str(folder / "events"),
            "recipe": {"training": changes},
            "teacher": teacher and trained_checkpoint(tmp_path, teacher),
        }

    return arguments


@pytest.fixture
def further_job(job, tmp_path):
    """As `job`, of a training that goes on from a parent without one of its blocks."""

    def arguments(*given, **changes):
        further = {
            "parent": trained_checkpoint(tmp_path, "S2-base"),
            "operations": [{"name": "prune_blocks", "keep_blocks": 1}],
        }
        return job("S2-base", *given, **changes) | further

    return arguments


def trained_checkpoint(folder, variant):
    path = folder / f"{variant}.safetensors"
    if not path.exists():
        structure = tiny(PHOTOS.structure(variant))
        model = randomized(build_model(structure), torch.float32, std=0.1)
        save_variant(path, model, structure, [], {})
    return str(path)


SLOW_TRAIN = """
import json, sys, time
import torch
torch.set_num_threads(1)
from slimdit.jobs import progress
from slimdit.training import loop
from train import train

update = loop.Progress.update
def slow_update(self, count=1, **shown):
    update(self, count, **shown)
    print(self.done, flush=True)
    time.sleep(0.05)

loop.Progress.update = slow_update
progress.TOLD_EVERY_S = float(sys.argv[2])
train(**json.loads(sys.argv[1]))
"""


def start_slowly(arguments, told_every_s=TOLD_EVERY_S):
    """A process that trains, and prints the number of each step after it."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_TRAIN, json.dumps(arguments), str(told_every_s)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
