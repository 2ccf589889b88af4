"""Rows whose weights are a published checkpoint's: in a study of seconds, and what is refused."""

import copy
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from published_models import dit_tensors, structure_of
from subjects import ROOT, load_config, merged
from torch.testing import assert_close

from import_checkpoint import import_checkpoint
from slimdit.core.errors import InputError
from slimdit.models.checkpoint import load_variant, read_metadata
from slimdit.models.published.format import check_structure
from slimdit.study.config_check import config_problems
from slimdit.study.jobs import jobs_of
from slimdit.study.study import Study

OVERLAYS = ("configs/photos-pretrained.yaml", "tests/tiny.yaml")
RUN = "results/tiny/variants/{}/seed-0"
IMPORTED = {"source": f"{RUN.format('published')}/diffusers"}
OWN = {  # beside tests/tiny.yaml
    "variants": {"imported": {"pretrained": IMPORTED}}
    | dict.fromkeys(("calibrated", "recovered", "mixed")),
    "backbones": {"tiny": {"depth": 2, "hidden_size": 16, "num_heads": 4}},
}
CONFIG = load_config("configs/photos-pretrained.yaml")
TARGETS = ("published", "imported", "prune-3", "DPM-10-int8")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "own.yaml").write_text(yaml.safe_dump(OWN))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--configfile", ROOT / "config.yaml"),
        *(ROOT / overlay for overlay in OVERLAYS),
        *("own.yaml", "--", *(f"{RUN.format(row)}/quality.json" for row in TARGETS)),
        "results/tiny/variants/imported/speed.json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr[-4000:]
    return folder / "results/tiny/variants"


def test_an_imported_row_has_the_weights_and_images_of_the_model_that_was_saved(results):
    runs = [results / row / "seed-0" for row in ("imported", "published")]
    ours, theirs = (load_variant(run / "checkpoint.safetensors").state_dict() for run in runs)
    assert_close(ours, theirs, rtol=0, atol=1e-7)  # the table of positions is computed anew
    samples = []
    for run in runs:
        with np.load(run / "samples.npz") as arrays:
            samples.append(arrays["arr_0"])
    assert np.array_equal(*samples)


def test_a_checkpoint_says_what_it_was_imported_from(results):
    weights = results / "published/seed-0/diffusers/diffusion_pytorch_model.safetensors"
    metadata = read_metadata(results / "imported/seed-0/checkpoint.safetensors")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metadata["origin"]["source"]["sha256"][weights.name] == sha256
    assert metadata["origin"]["source"]["name"] == IMPORTED["source"]
    assert sha256 in metadata["origin"]["inputs"].values()
    assert not (results / "imported/seed-0/training.json").exists()
    derived = read_metadata(results / "DPM-10-int8/seed-0/checkpoint.safetensors")
    assert derived["structure"] == metadata["structure"]


def test_what_diffusers_loads_is_what_was_saved(results):
    from diffusers import DiTTransformer2DModel

    theirs = DiTTransformer2DModel.from_pretrained(results / "published/seed-0/diffusers")
    config = json.loads((results / "published/seed-0/diffusers/config.json").read_text())
    assert config["num_embeds_ada_norm"] == theirs.config.num_embeds_ada_norm == 3
    assert config["norm_eps"] == 1e-5


def test_a_pretrained_row_is_not_trained():
    study = Study(CONFIG)
    assert study.trained == ["published"] and study.pretrained == ["imported"]
    assert study.trained_ancestor("DPM-10-int8") == "imported"
    steps = {job.step for job in jobs_of(study) if job.variant == "imported"}
    assert "import_checkpoint" in steps and "train" not in steps
    assert study.parent("imported") == "published" and not study.shares_weights("imported")


def imported(**pretrained):
    return {"variants": {"imported": {"pretrained": pretrained}}}


HUB = {"source": "facebook/DiT-XL-2-256", "revision": 40 * "a"}
NAMED = {"autoencoder": {"normalize": "config"}}
PROBLEMS = {
    "no file": (imported(source="nowhere.pt"), "is no file or folder here; a name on the hub"),
    "no revision": (
        imported(source=HUB["source"]),
        "needs the 40 hexadecimal digits of its commit",
    ),
    "another folder": (imported(source="docs"), "docs should be a DiT in diffusers' layout"),
    "format": (imported(format="dti"), "format: 'dti' is unknown; did you mean dit?"),
    "revision": (imported(revision="main"), "it should be null or the 40 hexadecimal digits"),
    "scale": (imported(**HUB), "autoencoder.normalize is measured"),
    "seeds": ({"seeds": [0, 1]}, "seeds are 2 and variants.imported.pretrained is one training"),
    "timesteps": (imported(num_timesteps=3), "pretrained.num_timesteps is 3; it should be"),
    "steps": (imported(num_timesteps=50) | {"sampling": {"steps": 60}}, "sampling.steps"),
    "training": ({"variants": {"imported": {"training": {"steps": 3}}}}, "is not trained here"),
    "attention": ({"variants": {"imported": {"attention": {"name": "shallow"}}}}, "plain one"),
    "from": ({"variants": {"int8": {"pretrained": {}}}}, "pretrained"),
    "frequencies": (
        {"backbones": {"tiny": {"frequency_shift": 2}}},
        "backbones.tiny.frequency_shift is 2; it should be 0 or 1",
    ),
}


@pytest.mark.parametrize("overlay, said", PROBLEMS.values(), ids=PROBLEMS)
def test_a_config_that_does_not_fit_a_checkpoint_is_refused(overlay, said, monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = config_problems(merged(CONFIG, overlay))
    assert any(said in problem for problem in problems), problems


def test_what_the_weights_do_not_tell_has_to_be_named():
    config = copy.deepcopy(CONFIG)
    del config["backbones"]["tiny"]["frequency_shift"]
    (problem,) = config_problems(config)
    assert problem.startswith("backbones.tiny.frequency_shift is missing; variants.imported.")
    dit = merged(config, imported(format="dit"))
    assert config_problems(dit) == []


def test_a_checkpoint_on_the_hub_is_no_problem_before_it_is_downloaded():
    assert config_problems(merged(CONFIG, imported(**HUB) | NAMED)) == []


@pytest.mark.parametrize(
    "key, value, place",
    [
        ("num_classes", 1000, "data.num_classes"),
        ("depth", 3, "its backbone"),
        ("input_size", 16, "data.image_size"),
    ],
)
def test_another_structure_than_the_configs_is_refused(key, value, place):
    found = structure_of(2, 24, 3, 2, 5, 8)
    check_structure(found, found | {"frequency_shift": 1}, "dit.pt")
    with pytest.raises(InputError) as refused:
        check_structure(found, found | {key: value}, "dit.pt")
    assert f"dit.pt has {key} {found[key]}, and by the config it is {value}" in str(refused.value)
    assert place in str(refused.value)


def test_a_row_of_dits_own_file_is_imported(tmp_path):
    structure = structure_of(2, 24, 3, 2, 5, 8)
    tensors = dit_tensors(structure)
    torch.save({"model": {}, "ema": tensors}, tmp_path / "dit.pt")
    source = {"source": str(tmp_path / "dit.pt"), "revision": None, "format": "dit"}
    checkpoint = tmp_path / "checkpoint.safetensors"
    files = [tmp_path / "dit.pt"]
    import_checkpoint(checkpoint, "own", 0, structure, source, {}, files)
    weights = load_variant(checkpoint).blocks[1].mlp.fc2.weight
    assert torch.equal(weights, tensors["blocks.1.mlp.fc2.weight"])
