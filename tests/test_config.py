"""Shipped configs are valid; bad ones end in one sentence that names the key."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from planning import plan
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def changed(path, value):
    config = copy.deepcopy(CONFIG)
    *parents, key = path.split(".")
    target = config
    for parent in parents:
        target = target[parent]
    target[key] = value
    return config


@pytest.mark.parametrize(
    "path, value, named",
    [
        ("trainig", {}, "trainig"),
        ("training.learning_rate", "1e-4", "learning_rate"),
        ("training.steps", 0, "steps"),
        ("training.ema_decay", 1.5, "ema_decay"),
        ("sampling.labels", "sorted", "labels"),
        ("sampling.guided_channels", "some", "guided_channels"),
        ("seeds", [0, 0], "seeds"),
        ("seeds", [], "seeds"),
        ("study", "a/b", "study"),
        ("variants", {"S2/base": CONFIG["variants"]["S2-base"]}, "variants"),
        ("variants.S2-base.patch", 2, "S2-base"),
        ("data.num_classes", 1, "num_classes"),
        ("backbones.S.depth", 0, "depth"),
    ],
)
def test_the_schema_names_the_bad_key(path, value, named):
    with pytest.raises(WorkflowError, match=named):
        validate(changed(path, value), SCHEMA)


def test_the_shipped_config_is_valid():
    validate(copy.deepcopy(CONFIG), SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_study_plans(path, tmp_path):
    for name in ("Snakefile", "config.yaml", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert plan(tmp_path, (ROOT / "config.yaml", path))


def test_a_bad_variant_stops_the_run_with_one_sentence(tmp_path):
    overlay = tmp_path / "bad.yaml"
    overlay.write_text("variants: {KD-XS2: {distill: {teacher: S2-bas, alpha: 0.3}}}\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(overlay)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode != 0
    assert "variants.KD-XS2.distill.teacher: 'S2-bas' is unknown; did you mean" in run.stderr
    assert "Traceback" not in run.stderr


def test_conda_and_pip_pin_the_same_versions():
    def pins(lines):
        return dict(line.split("==") for line in lines if "==" in line)

    names = ("requirements.txt", "requirements-inception.txt")
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
