"""A project after `make study`: a base row and its student."""

import shutil
import subprocess

import pytest
import yaml
from subjects import ROOT, load_config

RUN = "variants/{}/seed-0/{}"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", "results", "__pycache__", ".*_cache"
)


@pytest.fixture(scope="session")
def recorded_study(tmp_path_factory):
    """The project's folder, its config.yaml a small study `photos`, which is finished."""
    project = tmp_path_factory.mktemp("recorded") / "project"
    shutil.copytree(ROOT, project, ignore=NOT_COPIED)
    (project / ".venv").symlink_to(ROOT / ".venv")
    config = load_config("tests/tiny.yaml")
    base = config["variants"]["XS2-base"]
    student = base | {"group": "Student", "distill": {"teacher": "XS2-base", "alpha": 0.3}}
    config["variants"] = {"XS2-base": base, "KD-XS2": student}
    config["paper_values"] = str(ROOT / "workflow/paper/table1.csv")
    config["study"] = "photos"
    config["data"]["images"] = "results/photos/images"
    config["autoencoder"]["source"] = "results/photos/autoencoder"
    (project / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    run = subprocess.run(["make", "study"], cwd=project, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return project
