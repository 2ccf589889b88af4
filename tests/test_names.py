"""Names that must agree are held against each other before anything starts."""

import os
import shutil
import subprocess
import sys

import pytest
from subjects import ROOT, load_config, merged

from slimdit.study.config_check import config_problems

BASE = {"group": "Own", "backbone": "S", "patch_size": 2}


@pytest.fixture
def project(tmp_path):
    """A checkout in which make finds all set up, and no Snakemake to start."""
    for name in ("Makefile", "config.yaml", "requirements.txt", "workflow", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "configs").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name, line in (("python", f'exec "{sys.executable}" "$@"'), ("snakemake", "touch started")):
        (tmp_path / ".venv/bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    (tmp_path / ".venv/installed").touch()
    return tmp_path


OWN = """study: {}
data: {{images: results/own/images}}
autoencoder: {{source: results/own/autoencoder}}
"""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (OWN.format("own").encode(), "study is 'own', but make was called with STUDY=mine; write"),
        (b"seeds: [1]\n", "configs/mine.yaml: no study is named; write study: and its name"),
        ("study: mine\n".encode("utf-16"), "configs/mine.yaml is not in UTF-8; save it so"),
        (OWN.format("own").replace("own", "mine").encode(), None),
    ],
    ids=["another", "none", "utf-16", "its own"],
)
@pytest.mark.parametrize("target", ["study", "status"])
def test_make_and_the_config_name_one_study(project, text, sentence, target):
    (project / "configs/mine.yaml").write_bytes(text)
    command = ["make", target, "STUDY=mine"]
    run = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True)
    assert (run.returncode == 0) == (sentence is None), run.stderr
    assert (sentence or "") in run.stderr and "Traceback" not in run.stderr
    assert (project / "started").exists() == (sentence is None and target == "study")


def test_variants_that_differ_by_case_alone_are_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    own = {"variants": {"Mine": BASE, "mine": BASE, "MINE2": BASE}}
    (problem,) = config_problems(merged(load_config(), own))
    assert problem.startswith("variants: Mine and mine differ by case alone")


def test_a_study_whose_name_differs_from_another_by_case_alone_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/Photos").mkdir(parents=True)
    (problem,) = config_problems(load_config())
    assert problem.startswith("study: Photos and photos differ by case alone")
    (tmp_path / "results/Photos").rename(tmp_path / "results/photos")
    assert config_problems(load_config()) == []
