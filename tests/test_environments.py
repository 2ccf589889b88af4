"""What conda, Docker and Apptainer install is what the code imports, in pip's versions."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from subjects import ROOT

from slimdit.core.interpreter import NEWEST, OLDEST, path_problem, version_problem

SCRIPTS = ROOT / "workflow/scripts"
REQUIREMENTS = ("requirements.txt", "requirements-inception.txt", "requirements-datasets.txt")
INTERPRETER = "workflow/scripts/slimdit/core/interpreter.py"
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
    pinned = {Requirement(pin).name for pin in pins}
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
    pins = [pin for name in (*REQUIREMENTS, "requirements-slurm.txt") for pin in pins_of(name)]
    assert sorted(each.rstrip(";") for each in required) == sorted(
        f"{pin.name}{pin.specifier}" for pin in pins
    )


def pins_of(name):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("linux", "x86_64", "tensorflow-cpu"),
        ("linux", "aarch64", "tensorflow"),
        ("darwin", "arm64", "tensorflow"),
    ],
)
def test_tensorflow_is_asked_for_where_it_is(python, system, machine, name):
    where = {"python_version": python, "sys_platform": system, "platform_machine": machine}
    pins = [pin.name for pin in pins_of("requirements-inception.txt") if pin.marker.evaluate(where)]
    assert pins == ([] if python == "3.14" else [name])


@pytest.mark.parametrize("name", ["slimdit", "inception"])
def test_the_environments_pins_are_those_of_pip(name):
    (pins,) = (entry["pip"] for entry in environment(name) if isinstance(entry, dict))
    of_pip = {(pin.name, pin.specifier) for each in REQUIREMENTS for pin in pins_of(each)}
    assert {(pin.name, pin.specifier) for pin in map(Requirement, pins)} <= of_pip


def test_every_place_allows_the_same_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest, newest = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
    allowed = SpecifierSet(project["requires-python"])
    assert oldest in allowed and newest in allowed
    assert f"3.{OLDEST[1] - 1}" not in allowed and f"3.{NEWEST[1] + 1}" not in allowed
    assert f"Python {oldest} to {newest}" in (ROOT / "README.md").read_text()
    (tried,) = re.findall(r"for python in (.*);", (ROOT / ".ci/resolve.sh").read_text())
    assert tried.split() == [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]


@pytest.mark.parametrize(
    ("version", "word"),
    [((2, 7), "old"), ((3, 9), "old"), ((3, 10), "old"), ((3, 15), "new"), ((4, 0), "new")],
)
def test_another_python_is_told_which_one_is_needed(version, word):
    sentence = version_problem(version)
    assert sentence.startswith(f"Python {version[0]}.{version[1]} is too {word}")
    assert "needs Python 3.11 to 3.14" in sentence and "PYTHON=" in sentence
    assert version_problem((3, 11)) is None and version_problem((3, 14)) is None


@pytest.mark.parametrize(
    "name", ["My Studies (v1)", "a & b", "Jane's", "a;b", "$x", "tab\tular", "a|b", 'q"', "<a>"]
)
def test_a_path_that_a_shell_splits_is_refused(name):
    assert f"The path /home/{name}/.venv has " in path_problem(f"/home/{name}/.venv")


@pytest.mark.parametrize(
    "name", ["Übung-für_Käse", "U\u0308bung", "猫", "v1.0+cpu", "a[1]", "a,b", "a=b", "a@b", "a#b"]
)
def test_a_path_that_a_shell_takes_as_it_is_will_do(tmp_path, name):
    assert path_problem(str(tmp_path / name)) is None
    (tmp_path / name).touch()
    shown = subprocess.run(f"ls {tmp_path}/{name}", shell=True, capture_output=True, text=True)
    assert shown.stdout == f"{tmp_path}/{name}\n"


@pytest.mark.parametrize(
    ("folder", "python", "sentence"),
    [("a b", sys.executable, "a space in it"), ("plain", "old", "Python 3.10 is too old")],
)
def test_make_tells_before_it_installs(tmp_path, folder, python, sentence):
    root = tmp_path / folder
    for name in ("Makefile", "requirements.txt", INTERPRETER):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    if python == "old":
        python = tmp_path / "python"
        told = f"import sys; sys.path.insert(0, '{(root / INTERPRETER).parent}'); "
        told += "import interpreter; sys.exit(interpreter.version_problem((3, 10)))"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{told}"\n')
        python.chmod(0o755)
    made = subprocess.run(
        ["make", "setup", f"PYTHON={python}"], cwd=root, capture_output=True, text=True
    )
    assert made.returncode != 0 and sentence in made.stderr
    assert not (root / ".venv").exists()


def test_the_check_of_a_python_is_read_by_every_python():
    tree = ast.parse((ROOT / INTERPRETER).read_text("ascii"))
    later = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.AsyncFunctionDef, ast.Nonlocal)
    assert not [node for node in ast.walk(tree) if isinstance(node, later)]
    assert not [node for node in ast.walk(tree) if getattr(node, "returns", None)]


def test_a_home_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "home").touch()
    kept = {name: each for name, each in os.environ.items() if not name.startswith("XDG_")}
    command = [
        *(sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "--cores", "1"),
        *("--snakefile", ROOT / "Snakefile", "--directory", tmp_path),
        *("--configfile", ROOT / "config.yaml", ROOT / "tests/tiny.yaml"),
    ]
    run = subprocess.run(
        command,
        env=kept | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
