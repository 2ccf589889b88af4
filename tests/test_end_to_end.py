"""From photographs to quality and speed, through Snakemake, at a scale of seconds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slimdit.variants import load_variant

ROOT = Path(__file__).parents[1]
ROWS = ("S2-med-4", "KD-XS2", "Q-S2")
RUN = "results/tiny/variants/{}/seed-0"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run of three rows: a trained one, a distilled one with its teacher, a compressed one."""
    folder = tmp_path_factory.mktemp("tiny")
    targets = [f"{RUN.format(row)}/quality.json" for row in ROWS]
    targets += [f"{RUN.format('Q-S2')}/difference.json"]
    targets += [f"results/tiny/variants/{row}/speed.json" for row in ("S2-med-4", "Q-S2")]
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1"),
        *("--configfile", ROOT / "config.yaml", ROOT / "tests/tiny.yaml", "--", *targets),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return folder


def read(results, path):
    return json.loads((results / path).read_text())


@pytest.mark.parametrize("row", ROWS)
def test_quality_is_measured_and_says_where_it_comes_from(results, row):
    quality = read(results, f"{RUN.format(row)}/quality.json")
    assert all(np.isfinite(value) for value in quality["metrics"].values())
    assert quality["metrics"]["fd_std_over_sets"] > 0
    assert quality["extractor"]["fd_column"] == "fd_efficientnet_lite0"
    assert {"commit", "dirty", "versions", "device", "time", "code"} <= quality["origin"].keys()


def test_samples_are_what_the_openai_evaluator_reads(results):
    with np.load(results / f"{RUN.format('S2-med-4')}/samples.npz", allow_pickle=False) as npz:
        assert npz["arr_0"].shape == (6, 48, 48, 3) and npz["arr_0"].dtype == np.uint8
        assert sorted(npz["arr_1"].tolist()) == [0, 0, 1, 1, 2, 2]


def test_the_student_knows_its_teacher(results):
    report = read(results, f"{RUN.format('KD-XS2')}/training.json")
    assert report["final_distillation"] is not None
    assert read(results, f"{RUN.format('S2-base')}/training.json")["final_distillation"] is None


def test_a_checkpoint_loads_without_a_config(results):
    assert len(load_variant(results / f"{RUN.format('Q-S2')}/checkpoint.safetensors").blocks) == 2


def test_speed_has_units_and_conditions(results):
    (measured,) = read(results, "results/tiny/variants/Q-S2/speed.json")["measurements"]
    assert measured["latency_ms"] > 0 and measured["timed_iterations"] == 3
    assert measured["peak_memory_kind"] in ("cpu_peak_rss_growth", "cuda_max_memory_allocated")


def test_training_leaves_losses_and_tensorboard_events(results):
    losses = (results / f"{RUN.format('S2-med-4')}/losses.csv").read_text().splitlines()
    assert losses[0] == "step,loss,mse,vb,distillation,balance" and len(losses) == 3
    assert list((results / "results/tiny/tensorboard/S2-med-4-seed-0").iterdir())
