"""A study of published checkpoints and published statistics: no image, and nothing is trained."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from published_models import dit_tensors, structure_of
from subjects import ROOT, load_config, merged

from slimdit.evaluation.metrics.frechet import (
    PreparedReference,
    feature_statistics,
    frechet_distance_from_statistics,
)
from slimdit.plan.__main__ import report
from slimdit.plan.jobs import pending_jobs
from slimdit.plan.work import work_of
from slimdit.study.config_check import config_problems
from slimdit.study.jobs import jobs_of
from slimdit.study.load import configured_study
from slimdit.study.study import Study

XL = load_config("configs/dit-xl-2.yaml")
WITH_IMAGES = {"select_subset", "encode_latents", "reconstruct", "make_reference", "train"}
WITH_IMAGES |= {"evaluate_reference", "held_out_loss", "evaluate", "train_autoencoder"}
STRUCTURE = structure_of(2, 24, 3, 2, 3, 12)
NUM_FEATURES = 1280  # of EfficientNet-Lite0, pooled
ROWS = {
    "own": {
        "group": "Published",
        "backbone": "own",
        "patch_size": 2,
        "pretrained": {"source": "dit.pt", "format": "dit", "num_timesteps": 1000},
    },
    "own-DPM-2": {"group": "Solvers", "from": "own", "sampling": {"sampler": "dpmpp_2m"}},
    "own-int8": {"group": "Quantized", "from": "own", "apply": [{"name": "int8_weight_only"}]},
}
SMALL = {
    "study": "small",
    "data": {
        "images": None, "photos": None, "num_classes": 3, "image_size": 48,
        "reference_statistics": "statistics.npz",
    },
    "autoencoder": {"source": "autoencoder", "normalize": "config", "train": None},
    "backbones": {"own": {"depth": 2, "hidden_size": 24, "num_heads": 3}},
    "sampling": {"prompts": ["2", "0"]},
    "variants": dict.fromkeys(load_config("tests/tiny.yaml")["variants"]) | ROWS,
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The files that a user has: an autoencoder, a checkpoint and statistics."""
    from diffusers import AutoencoderKL

    folder = tmp_path_factory.mktemp("without-images")
    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 8, 8), "norm_num_groups": 8, "latent_channels": 4}
    kinds = {f"{way}_block_types": 3 * (f"{name}Block2D",) for way, name in BLOCKS.items()}
    AutoencoderKL(**sizes, **kinds, scaling_factor=0.5).save_pretrained(folder / "autoencoder")
    torch.save({"ema": dit_tensors(STRUCTURE)}, folder / "dit.pt")
    features = np.random.default_rng(0).standard_normal((2000, NUM_FEATURES))
    mean, covariance = feature_statistics(features)
    np.savez(folder / "statistics.npz", mu=mean, sigma=covariance, arr_0=np.zeros((2, 4, 4, 3)))
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    return folder


BLOCKS = {"down": "DownEncoder", "up": "UpDecoder"}


def snakemake(folder, *overlays, options=()):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "1"),
        *("--directory", folder, *options, "--configfile", ROOT / "config.yaml", *overlays),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def results(project):
    run = snakemake(project, ROOT / "tests/tiny.yaml", "small.yaml")
    assert run.returncode == 0, run.stderr[-4000:]
    return project / "results/small"


def test_a_study_without_images_has_its_tables_and_figures(results):
    table = pd.read_csv(results / "tables/table1.csv", index_col="variant")
    assert list(table.index) == list(ROWS)
    assert pd.to_numeric(table["fd_efficientnet_lite0"]).gt(0).all()
    assert (table["held_out_loss"] == "not measured").all()
    assert (table["recall"] == "not measured").all()
    assert pd.to_numeric(table["fd_efficientnet_lite0_low"][1:]).notna().all()
    text = (results / "tables/table1.md").read_text()
    assert "against published statistics of reference images" in text and "Training:" not in text
    assert len((results / "tables/table2.csv").read_text().splitlines()) == 1
    assert {path.suffix for path in (results / "figures").iterdir()} == {".png", ".svg"}
    assert not (results / "data/subset.csv").exists()


def test_latents_have_the_autoencoders_own_scale(results):
    manifest = json.loads((results / "data/latents.json").read_text())
    assert manifest["scale"] == 4 * [0.5] and manifest["shift"] == 4 * [0.0]
    assert manifest["classes"] == ["0", "1", "2"]


def test_a_finished_study_is_finished_and_verified(project, results):
    overlays = [ROOT / "tests/tiny.yaml", "small.yaml"]
    again = snakemake(project, *overlays, options=("--dry-run",))
    assert "Nothing to be done" in again.stdout + again.stderr
    command = [sys.executable, "-m", "slimdit.verify", "results/small"]
    where = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, env=where)
    assert run.returncode == 0, run.stdout + run.stderr


def test_distances_to_statistics_are_those_of_their_equation():
    random = np.random.default_rng(1)
    statistics = feature_statistics(random.standard_normal((300, 12)) @ random.random((12, 12)))
    for number in (400, 10):
        made = random.standard_normal((number, 12))
        found = PreparedReference.of_statistics(*statistics).distance(made)
        expected = frechet_distance_from_statistics(*statistics, *feature_statistics(made))
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def xl(tmp_path, monkeypatch):
    """A folder with nothing that the study of DiT-XL/2 downloads."""
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_dit_xl_2_runs_no_job_of_images_or_training(xl):
    overlay = str(ROOT / "configs/dit-xl-2.yaml")
    study = configured_study([overlay])
    jobs = pending_jobs(study, [overlay])
    steps = {job.step for job in jobs}
    assert not steps & WITH_IMAGES
    assert {"import_checkpoint", "compress", "sample", "evaluate_by_statistics"} <= steps
    assert len(jobs) == len(list(jobs_of(study)))
    costs = pd.DataFrame(
        {"rule": job.step, "name": job.name, "chain": job.name, "jobs": 1, "hours": 1.0,
         "steps or images": work_of(study, job).amount, "GB": 0.0, "takes_gpu": True}
        for job in jobs if job.step in ("sample", "evaluate_by_statistics")
    )  # fmt: skip
    images = sum(study.num_sampled(row) for row in study.variants)
    assert costs["steps or images"].sum() == 2 * images

    from slimdit.plan.rates import Rates

    origin = {"device": "cpu", "processor": "a CPU", "commit": None}
    assert "evaluate_by_statistics" in report(study.name, costs, Rates(origin, {}))


def test_statistics_that_are_not_there_are_named_before_anything_runs(xl):
    run = snakemake(xl, ROOT / "configs/dit-xl-2.yaml")
    said = run.stdout + run.stderr
    assert run.returncode and "VIRTUAL_imagenet256_labeled.npz does not exist" in said
    assert "Traceback" not in said and not (xl / "results/dit-xl-2/variants").exists()


def test_xl2_is_what_diffusers_says_it_is():
    structure = Study(XL).structure("XL2")
    plain = structure_of(28, 1152, 16, 2, 1000, 32, frequency_shift=0, mlp_norm_eps=1e-6)
    assert structure == plain
    assert Study(XL).num_timesteps("fp8-interval-10") == 1000


TRAINED = {"group": "Own", "backbone": "XL", "patch_size": 2}
DAMAGE = {"name": "prune_heads", "keep_heads": 3, "criterion": "least_damage"}
MIXED = {"name": "int8_dynamic", "keep_float": 0.1}
PROBLEMS = {
    "nothing": ({"data": {"reference_statistics": None}}, "data.images is null; name a folder"),
    "both": ({"data": {"images": "data"}}, "has no effect beside data.images"),
    "trained": ({"variants": {"new": TRAINED}}, "variants.new is trained on images"),
    "calibrated": (
        {"variants": {"new": {"group": "Own", "from": "XL2", "apply": [DAMAGE]}}},
        "variants.new.apply measures the loss on images",
    ),
    "layers": (
        {"variants": {"new": {"group": "Own", "from": "XL2", "apply": [MIXED]}}},
        "variants.new.apply measures layers on images",
    ),
    "measured": ({"autoencoder": {"normalize": "measured"}}, "normalize is measured of images"),
    "photos": ({"data": {"photos": load_config()["data"]["photos"]}}, "data.photos are cut into"),
    "prompts": ({"sampling": {"prompts": ["tench"]}}, "no class of the study is 'tench'"),
    "autoencoder": (
        {"autoencoder": {"train": load_config()["autoencoder"]["train"]}},
        "autoencoder.train needs images",
    ),
}


@pytest.mark.parametrize("overlay, said", PROBLEMS.values(), ids=PROBLEMS)
def test_what_needs_images_is_refused_without(overlay, said):
    problems = config_problems(merged(XL, overlay))
    assert any(said in problem for problem in problems), problems
