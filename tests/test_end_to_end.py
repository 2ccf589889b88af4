"""From photographs to quality and speed, through Snakemake, at a scale of seconds."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from subjects import load_config

from slimdit.jobs.heartbeat import Heartbeat
from slimdit.models.checkpoint import load_variant, read_metadata
from slimdit.plan.jobs import pending_jobs
from slimdit.plan.work import work_of
from slimdit.profiling.cost import weight_bytes
from slimdit.profiling.peak_memory import KINDS
from slimdit.status import job_status, watched
from slimdit.storage.files import sha256_of
from slimdit.study.jobs import jobs_of
from slimdit.study.study import Study

ROOT = Path(__file__).parents[1]
ROWS = ("S2-med-4", "KD-XS2", "Q-S2", "calibrated", "mixed")
RUN = "results/tiny/variants/{}/seed-0"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run of five rows: a trained one, a distilled one with its teacher, a compressed one, one
    with a cache that is calibrated, one with layers that a measurement chose."""
    folder = tmp_path_factory.mktemp("tiny")
    targets = [f"{RUN.format(row)}/quality.json" for row in ROWS]
    targets += [
        f"results/tiny/variants/{row}/speed.json"
        for row in ("S2-base", "S2-med-4", "Q-S2", "calibrated")
    ]
    targets += [f"results/tiny/variants/{row}/architecture.json" for row in ("calibrated", "mixed")]
    snakemake(folder, *targets)
    return folder


def snakemake(folder, *targets, options=()):
    """What a run of the targets says."""
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1", *options),
        *("--configfile", ROOT / "config.yaml", ROOT / "tests/tiny.yaml", "--", *targets),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stderr


def read(results, path):
    return json.loads((results / path).read_text())


@pytest.mark.parametrize("row", ROWS)
def test_quality_is_measured_and_says_where_it_comes_from(results, row):
    quality = read(results, f"{RUN.format(row)}/quality.json")
    assert all(np.isfinite(value) for value in quality["metrics"].values())
    assert quality["metrics"]["fd_std_over_sets"] > 0
    assert quality["extractor"]["fd_column"] == "fd_efficientnet_lite0"
    assert {"commit", "dirty", "versions", "device", "time", "recipe"} <= quality["origin"].keys()


def test_samples_are_what_the_openai_evaluator_reads(results):
    with np.load(results / f"{RUN.format('S2-med-4')}/samples.npz", allow_pickle=False) as npz:
        assert npz["arr_0"].shape == (6, 48, 48, 3) and npz["arr_0"].dtype == np.uint8
        assert sorted(npz["arr_1"].tolist()) == [0, 0, 1, 1, 2, 2]


def test_images_sampled_by_several_jobs_are_those_of_one_to_the_bit(results, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(results, folder)
    run = Path(RUN.format("S2-med-4"))
    for name in ("samples.npz", "samples.json"):
        (folder / run / name).unlink()
    words = snakemake(folder, run / "samples.npz", options=("--set-scatter", "samples=3"))
    assert all(f"{part}-of-3" in words for part in (1, 2, 3))
    for name in ("samples.npz", "prompts.npz", "grid.png"):
        assert (folder / run / name).read_bytes() == (results / run / name).read_bytes()
    assert read(folder, run / "samples.json")["num_shards"] == 3
    assert not list((folder / "results/tiny/state/sample").glob("**/*.npy"))
    assert "Nothing to be done" in snakemake(folder, run / "samples.npz")


def test_the_student_knows_its_teacher(results):
    report = read(results, f"{RUN.format('KD-XS2')}/training.json")
    assert report["final_distillation"] is not None
    assert read(results, f"{RUN.format('S2-base')}/training.json")["final_distillation"] is None


def test_a_checkpoint_loads_without_a_config(results):
    assert len(load_variant(results / f"{RUN.format('Q-S2')}/checkpoint.safetensors").blocks) == 2


@pytest.mark.parametrize("row", ["S2-med-4", "Q-S2"])
def test_speed_has_units_conditions_and_a_base(results, row):
    report = read(results, f"results/tiny/variants/{row}/speed.json")
    measured, sampled = report["measurements"]
    assert report["base"] == "S2-base" and len(report["origin"]["inputs"]) == 3
    assert measured["latency_ms"] > 0 and measured["timed_iterations"] == 4
    assert sampled["mode"] == "sampler" and [len(each) for each in sampled["times_s"]] == [2, 2]
    assert measured["latency_over_base"] > 0 and measured["dtype"] in ("float32", "bfloat16")
    assert measured["peak_memory_kind"] in KINDS.values()


def test_decoding_is_timed_of_the_base(results):
    report = read(results, "results/tiny/variants/S2-base/speed.json")
    *_, decoded = report["measurements"]
    assert (decoded["mode"], len(decoded["times_s"][0])) == ("decoder", 2)


def test_a_calibrated_cache_is_that_of_its_row(results):
    """All files are by the steps that its weights told."""
    row = "results/tiny/variants/calibrated"
    cache, run = read(results, f"{row}/cache.json"), RUN.format("calibrated")
    full_steps = cache["cache"]["full_steps"]
    assert full_steps[0] == 0 and full_steps[-1] == 4
    assert list(cache["origin"]["inputs"]) == ["../S2-med-4/seed-0/checkpoint.safetensors"]
    cost = read(results, f"{row}/architecture.json")
    assert cost["passes_per_image"] == 2 * len(full_steps)
    assert cost["cached_passes_per_image"] == 2 * (5 - len(full_steps))
    used = [(f"{run}/samples.json", "../cache.json"), (f"{row}/speed.json", "cache.json")]
    for path, name in [*used, (f"{row}/architecture.json", "cache.json")]:
        inputs = read(results, path)["origin"]["inputs"]
        assert inputs[name] == sha256_of(results / row / "cache.json")
    sampled, *_ = read(results, f"{row}/speed.json")["measurements"]
    assert (sampled["mode"], sampled["batch_size"]) == ("sampler", 2)


def test_measured_layers_are_those_of_the_row_and_its_costs(results):
    row = "results/tiny/variants/mixed"
    sensitivity = read(results, f"{row}/sensitivity.json")
    layers = sensitivity["compression"]["float_layers"]
    assert len(layers) == round(0.25 * len(sensitivity["layer_errors"])) > 0
    inputs = {"../S2-base/seed-0/checkpoint.safetensors", "../../data/latents.npy"}
    assert sensitivity["origin"]["inputs"].keys() == inputs
    checkpoint = results / RUN.format("mixed") / "checkpoint.safetensors"
    assert read_metadata(checkpoint)["operations"] == [sensitivity["compression"]]
    cost = read(results, f"{row}/architecture.json")
    assert cost["weight_bytes"] == weight_bytes(load_variant(checkpoint))
    for origin, name in (
        (read_metadata(checkpoint)["origin"], "../sensitivity.json"),
        (cost["origin"], "sensitivity.json"),
    ):
        assert origin["inputs"][name] == sha256_of(results / row / "sensitivity.json")


def test_training_leaves_losses_and_tensorboard_events(results):
    losses = (results / f"{RUN.format('S2-med-4')}/losses.csv").read_text().splitlines()
    assert losses[0] == "step,loss,mse,vb,distillation,balance,features" and len(losses) == 3
    assert list((results / "results/tiny/tensorboard/S2-med-4-seed-0").iterdir())


def test_the_plan_knew_what_stays_on_disk(results, monkeypatch):
    monkeypatch.chdir(results)
    shutil.copy(ROOT / "config.yaml", results)
    study = Study(load_config("tests/tiny.yaml"))
    todo = pending_jobs(study, [str(ROOT / "tests/tiny.yaml")])
    done = [job for job in jobs_of(study) if job not in todo and job.step != "cut_photos"]
    assert {"train KD-XS2, seed 0", "sample Q-S2, seed 0"} <= {job.name for job in done}
    files = [work_of(study, job).files.items() for job in done]
    for path, planned in (each for its in files for each in its):
        whole = results / path
        kept = [whole] if whole.is_file() else [*whole.glob("*.npy"), *whole.glob("*.safetensors")]
        assert kept
        assert planned == pytest.approx(sum(map(size_without_header, kept)), 0.03, 2048), path


def size_without_header(path):
    """Without what a file says of where it comes from."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return sum(arrays[name].nbytes for name in arrays.files if name != "meta")
    with open(path, "rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")  # of a safetensors file
    return path.stat().st_size - (header if path.suffix == ".safetensors" else 0)


def test_the_status_of_jobs_is_read_where_their_rules_write(results, monkeypatch):
    monkeypatch.chdir(results)
    study = Study(load_config("tests/tiny.yaml"))
    jobs = list(map(watched, jobs_of(study)))
    done = [job for job in jobs if job_status(job, time.time()).state == "done"]
    of_rows = [f"{rule} {row}, seed 0" for row in ROWS for rule in ("sample", "evaluate")]
    of_rows += ["measure speed S2-med-4", "measure speed Q-S2"]
    of_data = [
        "select subset",
        "train autoencoder",
        "encode latents",
        "reconstruct",
        "make reference",
    ]
    assert {*of_data, *of_rows, "train KD-XS2, seed 0"} <= {job.name for job in done}
    for job in done:
        assert job.log.is_file()
        if job.state and not job.name.startswith(("sample", "reconstruct")):  # they leave none
            assert Heartbeat.read(job.state).state == "finished"
