"""Shipped studies plan; rules and environments say all that they should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from planning import plan

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_study_plans(path, tmp_path):
    for name in ("Snakefile", "config.yaml", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert plan(tmp_path, (ROOT / "config.yaml", path))


@pytest.mark.parametrize("limit", [1, 2, None])
def test_more_gpus_than_there_are_is_told_before_anything_runs(limit, tmp_path):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", tmp_path, "--configfile", ROOT / "config.yaml", "--dry-run"),
        *("--cores", "2", "--quiet", "all", "--set-resources", "train:gpu=2"),
        *(("--resources", f"gpu={limit}") if limit else ()),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert ("ask for --resources gpu=2 or more" in run.stderr) == (limit == 1)
    assert (run.returncode != 0) == (limit == 1), run.stderr


def test_conda_and_pip_pin_the_same_versions():
    def pins(lines):
        wanted = map(Requirement, (line for line in lines if "==" in line))
        return {each.name: str(each.specifier) for each in wanted}

    names = ("requirements.txt", "requirements-inception.txt", "requirements-datasets.txt")
    pip = pins(line for name in names for line in (ROOT / name).read_text().splitlines())
    for path in (ROOT / "envs").glob("*.yaml"):
        dependencies = yaml.safe_load(path.read_text())["dependencies"]
        conda = pins(next(entry["pip"] for entry in dependencies if isinstance(entry, dict)))
        assert conda.items() <= pip.items()


def test_every_rule_says_what_it_needs():
    """Named inputs, outputs and params, a log, threads, resources, a message, an environment."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^\s*rule ", path.read_text(), flags=re.M)[1:]:
            for section in ("output", "log", "conda", "threads", "resources", "params", "message"):
                assert re.search(rf"^\s+{section}:", rule, flags=re.M), f"{rule[:20]} {section}"
