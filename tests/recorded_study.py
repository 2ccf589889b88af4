"""A finished study of a base and its student, with a pruned row that only has weights."""

import subprocess
import sys

import pytest
import yaml
from subjects import ROOT, load_config

from compress import compress

RUN = "variants/{}/seed-0/{}"


@pytest.fixture(scope="session")
def recorded_study(tmp_path_factory):
    """The folder that Snakemake ran in; its config.yaml is the study's."""
    folder = tmp_path_factory.mktemp("recorded")
    config = load_config("tests/tiny.yaml")
    base = config["variants"]["XS2-base"]
    student = base | {"group": "Student", "distill": {"teacher": "XS2-base", "alpha": 0.3}}
    config["variants"] = {"XS2-base": base, "KD-XS2": student}
    config["paper_values"] = str(ROOT / "workflow/paper/table1.csv")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1"),
        *("--configfile", folder / "config.yaml", "--", "results/tiny/tables/table1.csv"),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    results = folder / "results/tiny"
    parent, child = (results / RUN.format(v, "checkpoint.safetensors") for v in ("XS2-base", "P"))
    recipe = {"step": "compress", "settings": {}, "definitions": {}}
    compress(parent, child, "P", 0, [{"name": "prune_heads", "keep_heads": 2}], recipe)
    return folder
