"""What conda, Docker and Apptainer install is what the code imports, in pip's versions."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from subjects import ROOT

SCRIPTS = ROOT / "workflow/scripts"
REQUIREMENTS = ("requirements.txt", "requirements-inception.txt", "requirements-datasets.txt")
RECIPES = ("containers/Dockerfile", "containers/slimdit.def")
FEATURES = {
    "slimdit": [path.stem for path in (SCRIPTS / "slimdit/evaluation/features").glob("[!_]*.py")],
    "inception": ["inception_2015", "frozen_graph", "tensorflow_graph"],
}
WITHOUT = {"slimdit": {"tensorflow"}, "inception": {"torch"}}  # in functions that are not called


def environment(name: str) -> dict:
    return yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]


def rules() -> Iterator[tuple[str, str]]:
    """The script of every rule, with each conda environment that the rule may get."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^\s*rule ", path.read_text(), flags=re.M)[1:]:
            (script,) = re.findall(r'"../scripts/(\w+)\.py"', rule)
            for name in re.findall(r"envs/(\w+)\.yaml", rule) or ("slimdit", "inception"):
                yield script, name


def source(module: str) -> Path | None:
    base = SCRIPTS.joinpath(*module.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def imports(path: Path, lazy: bool) -> Iterator[str]:
    """What a module imports; lazy: in functions too."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif lazy or not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)


def needed(script: str, features: list[str], lazy: bool = True) -> set[str]:
    """Packages from outside that a script and the modules it reaches import."""
    waiting, seen, found = [script], set(), set()
    while waiting:
        name = waiting.pop()
        package = name.partition(".")[0]
        if source(package) is None:
            found.add(package)
        elif name not in seen and (path := source(name)):
            seen.add(name)
            waiting += imports(path, lazy)
            if name == "slimdit.evaluation.features":
                waiting += [f"{name}.{kind}" for kind in features]
    return found - set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def distributions():
    """Package -> normalised names of what pip installs for it."""
    return {
        package: {re.sub(r"[-_.]+", "-", name).lower() for name in names}
        for package, names in packages_distributions().items()
    }


@pytest.mark.parametrize(("script", "name"), sorted(set(rules())))
def test_an_environment_has_what_its_rules_scripts_import(script, name, distributions):
    (pins,) = (entry["pip"] for entry in environment(name) if isinstance(entry, dict))
    pinned = {pin.partition("==")[0] for pin in pins}
    for package in needed(script, FEATURES[name]) - WITHOUT[name]:
        assert distributions[package] & pinned, f"envs/{name}.yaml lacks {package}"
    assert not needed(script, FEATURES[name], lazy=False) & WITHOUT[name]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_installs_the_requirements_in_the_environments_python(recipe):
    text, install = (ROOT / recipe).read_text(), (ROOT / "containers/install.sh").read_text()
    assert "==" not in text + install
    assert "sh install.sh" in text and "containers/install.sh" in text
    for name in REQUIREMENTS:
        assert f"-r {name}" in install and name in text
    python = re.findall(r"^from:? python:([\d.]+)", text, flags=re.I | re.M)
    assert [f"python={version}" for version in python] == [
        entry for entry in environment("slimdit") if str(entry).startswith("python")
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The library as pip builds it, without network, from what git has in the project."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "README.md", "LICENSE", *ROOT.glob("requirements*.txt")):
        shutil.copy2(ROOT / name, folder)
    shutil.copytree(
        SCRIPTS, folder / "workflow/scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", folder / "dist", folder], check=True
    )
    (path,) = folder.glob("dist/*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_a_wheel_holds_every_file_of_the_library_and_no_other(wheel):
    files = [path for path in (SCRIPTS / "slimdit").rglob("*") if path.is_file()]
    expected = {path.relative_to(SCRIPTS).as_posix() for path in files if path.suffix != ".pyc"}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_a_wheel_brings_what_the_project_pins(wheel):
    (path,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    required = re.findall(r"^Requires-Dist: (\S+)", wheel.read(path).decode(), flags=re.M)
    pins = [
        line
        for name in (*REQUIREMENTS, "requirements-slurm.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    ]
    assert sorted(each.rstrip(";") for each in required) == sorted(pins)
