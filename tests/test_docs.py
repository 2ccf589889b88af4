"""Every command in README and docs is one that a test or CI runs; links lead somewhere."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from subjects import ROOT, load_config, merged

from slimdit.study.config_check import config_problems

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```\n(.*?)^```$", re.S | re.M)
COMMAND = re.compile(r"^(make|PYTHONPATH=|\.venv/bin/)")
# Not run here, but by whom.
ELSEWHERE = {
    "make test": "CI",
    "make study": "the fixture of the finished study",
    "make gpu-check": "test_gpu_check.py, in its tiny form",
    ".venv/bin/pip install": "make test, as its set-up installs the same files",
    ".venv/bin/snakemake --profile profiles/slurm": "make test-slurm",
}
# Added to what would take hours.
DRY = {
    ".venv/bin/snakemake --cores all": " --dry-run",
    "make study STUDY=": " --dry-run",
}


def commands():
    for page in PAGES:
        for block in BLOCK.findall(page.read_text()):
            for line in block.splitlines():
                if COMMAND.match(line):
                    yield re.sub(r"\s{2,}#.*", "", line).strip()


def run_elsewhere(command):
    exact = command in ELSEWHERE
    return exact or any(command.startswith(f"{each} ") for each in ELSEWHERE if "/" in each)


HERE = list(dict.fromkeys(command for command in commands() if not run_elsewhere(command)))


@pytest.fixture(scope="module")
def project(recorded_study, tmp_path_factory):
    """The finished project; the other studies are the small one too, imagenet200 not begun."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    shutil.copytree(recorded_study, folder, symlinks=True)
    for path in (folder / "configs").glob("*.yaml"):
        own = f"results/{path.stem}"
        made = {
            "data": {"images": f"{own}/images"},
            "autoencoder": {"source": f"{own}/autoencoder"},
        }
        path.write_text(yaml.safe_dump({"study": path.stem, **made}))
    (folder / "results/imagenette").symlink_to(folder / "results/photos")
    for name in ("reference", "samples"):
        images = np.random.default_rng(len(name)).integers(0, 255, (6, 32, 32, 3), np.uint8)
        np.savez(folder / f"{name}.npz", arr_0=images)
    return folder


@pytest.mark.parametrize("command", HERE)
def test_a_command_of_the_documentation_runs(project, command):
    more = next((option for start, option in DRY.items() if command.startswith(start)), "")
    done = subprocess.run(
        command + more, shell=True, cwd=project, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_hold_commands_and_none_is_left_out():
    assert {"make test", "make study"} <= set(commands())
    assert len(HERE) > 8
    used = {each for each in ELSEWHERE for command in commands() if command.startswith(each)}
    assert used == ELSEWHERE.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    library = ROOT / "workflow/scripts/slimdit"
    rooms = "|".join(path.parent.name for path in library.glob("*/__init__.py"))
    for name in re.findall(rf"`((?:{rooms})/[\w/.]+\.py)`", text):
        assert (library / name).exists(), name


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140


def test_configs_shown_in_the_readme_are_accepted():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    study, rows = (yaml.safe_load(re.sub(r"^   (?=\S)", "", block, flags=re.M)) for block in blocks)
    assert config_problems(merged(load_config(), study)) == []
    assert config_problems(merged(load_config(), {"variants": rows})) == []
