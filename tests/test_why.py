"""What `python -m slimdit.why` says after a change: the setting, definition or input, by name."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from recorded_study import RUN
from subjects import ROOT

from slimdit.core.errors import InputError
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.load import configured_study
from slimdit.why import check_recognised, differences, main

QUALITY = f"results/photos/{RUN.format('KD-XS2', 'quality.json')}"


@pytest.fixture
def project(recorded_study, tmp_path, monkeypatch):
    """A copy of the finished study, with the code beside it, to change."""
    folder = tmp_path / "project"
    shutil.copytree(
        recorded_study, folder, symlinks=True, ignore=shutil.ignore_patterns(".snakemake")
    )
    monkeypatch.chdir(folder)
    return folder


def edit_config(project, change):
    config = yaml.safe_load((project / "config.yaml").read_text())
    change(config)
    (project / "config.yaml").write_text(yaml.safe_dump(config))


def said(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_a_finished_study_is_as_it_would_be_made_today(project, capsys):
    lines = said(capsys).splitlines()
    of_jobs = [line for line in lines if not line.startswith("  ")]
    assert len(of_jobs) == len(list(jobs_of(configured_study([]))))
    assert "train KD-XS2, seed 0: as it would be made today." in lines
    silent = [line for line in lines if line.startswith("  ")]
    assert all("does not say how it was made" in line or "is not there" in line for line in silent)


def test_a_changed_setting_is_named_with_both_values(project, capsys):
    edit_config(
        project, lambda c: c["variants"]["KD-XS2"].update(training={"learning_rate": 0.125})
    )
    text = said(capsys, "--row", "KD-XS2")
    assert (
        "train KD-XS2, seed 0:\n  setting training.learning_rate has changed from 0.004 to 0.125."
        in text
    )
    assert "evaluate KD-XS2, seed 0: as it would be made today." in text
    edit_config(project, lambda c: c["variants"]["KD-XS2"].pop("distill"))
    assert "setting distill.alpha is gone, it was 0.3." in said(capsys, "--row", "KD-XS2")


def test_other_inputs_and_missing_results_are_named(project, capsys):
    samples = project / QUALITY.replace("quality.json", "samples.npz")
    samples.write_bytes(b"others")
    assert "input samples.npz has other content" in said(capsys, QUALITY)
    samples.unlink()
    assert "input samples.npz is not there." in said(capsys, QUALITY)
    (project / QUALITY).unlink()
    assert f"{QUALITY} is not there." in said(capsys, QUALITY)


def test_changed_definitions_are_named(project, tmp_path):
    scripts = tmp_path / "scripts"
    shutil.copytree(ROOT / "workflow/scripts", scripts)
    loop = scripts / "slimdit/training/loop.py"
    loop.write_text(loop.read_text().replace("1 - self.ema_decay", "2 - self.ema_decay"))
    run = subprocess.run(
        [sys.executable, "-m", "slimdit.why", "--row", "XS2-base"],
        cwd=project,
        env={"PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "train XS2-base, seed 0:\n  definition Run has changed.\n" in run.stdout
    assert "sample XS2-base, seed 0: as it would be made today." in run.stdout


def test_results_from_before_recipes_are_told(project):
    job = Job(configured_study([]), "count_cost", "XS2-base")
    path = project / job.record
    path.write_text('{"origin": {"commit": null}}')
    assert list(differences(job)) == [
        f"{job.record} is older than recipes; `snakemake --touch` takes it as it is."
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--row", "S9"], "--row S9 is no row; the study has XS2-base, KD-XS2."),
        (["data/none.json"], "data/none.json is no file that a rule of the study photos makes."),
        (["--configfile", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_bad_input_is_told_in_a_sentence(project, capsys, arguments, sentence):
    assert main(arguments) == 1
    assert sentence in capsys.readouterr().err


def snakemake(project, *options):
    command = [".venv/bin/python", "-m", "snakemake", "--cores", "1", "--resources", "gpu=1"]
    run = subprocess.run([*command, *options], cwd=project, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_results_copied_without_snakemakes_records_are_not_made_again(project):
    """With the times of a copy, the newest first."""
    files = sorted((project / "results").rglob("*"), key=lambda path: path.stat().st_mtime)
    for age, path in enumerate(files):
        os.utime(path, (1e9 - age, 1e9 - age), follow_symlinks=False)
    weights = project / f"results/photos/{RUN.format('XS2-base', 'checkpoint.safetensors')}"
    before = weights.read_bytes()
    code, text = snakemake(project)
    assert code != 0 and "Traceback" not in text
    assert "would be done again, though results/photos/" in text and "`make adopt`" in text
    assert weights.read_bytes() == before
    assert snakemake(project, "--touch", "--forceall")[0] == 0
    assert "Nothing to be done" in snakemake(project)[1]
    edit_config(project, lambda c: c["variants"]["KD-XS2"].update(training={"steps": 3}))
    assert "Training KD-XS2, seed 0" in snakemake(project, "--dry-run")[1]


def test_what_follows_a_changed_result_is_made_again_without_a_question(project):
    """Though its own record says that it is as it would be made of what is there."""
    edit_config(
        project, lambda c: c["variants"]["KD-XS2"].update(training={"learning_rate": 0.125})
    )
    of_row = (job for job in jobs_of(configured_study([])) if job.variant == "KD-XS2")
    jobs = {job.step: job for job in of_row if job.step in ("train", "evaluate")}
    needs = {"train": [], "evaluate": ["train"]}
    check_recognised(jobs, needs, lambda name: False)
    del jobs["train"]
    with pytest.raises(InputError, match="evaluate KD-XS2, seed 0 would be done again, though"):
        check_recognised(jobs, needs, lambda name: False)
    check_recognised(jobs, needs, lambda name: True)
