"""How long one waits before anything happens."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from models import random_latents

from slimdit.study.study import Study, identity

ROOT = Path(__file__).parents[2]
TRAIN = "import json, sys; from train import train; train(**json.load(open(sys.argv[1])))"


def dry_run(num_runs: int, device: torch.device) -> dict:
    """`snakemake -n` of the whole study imagenet200 in a fresh checkout."""
    with tempfile.TemporaryDirectory() as folder:
        copy_study(Path(folder))
        command = [Path(sys.executable).with_name("snakemake"), "-n"]
        command += ["--configfile", "configs/imagenet200.yaml"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

        def run():
            subprocess.run(command, cwd=folder, check=True, **silent)

        return waiting("a dry run of imagenet200", run, num_runs)


def job_start(study: Study, num_runs: int, device: torch.device) -> dict:
    """A training of one step of XS4-base, from the start of its process to its end."""
    structure = study.structure("XS4-base") | {"depth": 1, "hidden_size": 32}
    training = identity(study.training("XS4-base")) | {"steps": 1, "batch_size": 2}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        random_latents(study, folder, 16)
        arguments = {
            "latents": "latents.npy",
            "latents_manifest": "latents.json",
            "checkpoint": "checkpoint.safetensors",
            "losses": "losses.csv",
            "report": "training.json",
            "variant": "XS4-base",
            "structure": structure,
            "training": training | {"compile": "off"},
            "save_every_steps": 1,
            "micro_batch_size": None,
            "operations": [],
            "distill": {},
            "seed": 0,
            "state": "state",
            "events": "events",
            "recipe": {},
        }
        (folder / "job.json").write_text(json.dumps(arguments))
        command = [sys.executable, "-c", TRAIN, "job.json"]
        path = {"PYTHONPATH": str(ROOT / "workflow" / "scripts")}

        def start():
            subprocess.run(command, cwd=folder, env=os.environ | path, check=True)
            shutil.rmtree(folder / "state", ignore_errors=True)

        return waiting("a training of one step, the whole process", start, num_runs)


def copy_study(folder: Path) -> None:
    """What Snakemake reads of a checkout."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("configs", "profiles", "workflow"):
        shutil.copytree(ROOT / name, folder / name)


def waiting(what: str, action: Callable[[], object], num_runs: int) -> dict:
    """Seconds of `action`; one run of it goes before."""
    times_s = []
    for _ in range(num_runs + 1):
        started_s = time.perf_counter()
        action()
        times_s.append(time.perf_counter() - started_s)
    return {"what": what, "wall_s": statistics.median(times_s[1:]), "all_wall_s": times_s[1:]}
