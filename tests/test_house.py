"""The rooms of the library: who may import whom, how large a room and a file may be."""

import ast
import re
from pathlib import Path

import pytest
from subjects import ROOT

SCRIPTS = ROOT / "workflow/scripts"
LIBRARY = SCRIPTS / "slimdit"
# From the ground up: a room imports rooms of the floors below its own.
FLOORS = (
    {"core"},
    {"storage"},
    {"compute"},
    {"jobs"},
    {"data", "models"},
    {"diffusion", "profiling", "evaluation"},
    {"study"},
    {"training", "reporting", "status"},
    {"export", "plan", "recommend", "verify", "why"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_FILES, MOST_LINES = 12, 350
MODULES = sorted(LIBRARY.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_only_go_up_from_the_ground(path):
    if path.parent == LIBRARY and path.name == "__init__.py":
        return
    own = room(path)
    for name in imports(path):
        assert not re.match(r"snakemake\.(?!utils|exceptions)", name), f"{name} is Snakemake's own"
        package, *rest = name.split(".")
        assert package not in {script.stem for script in SCRIPTS.glob("*.py")}, "a rule's script"
        if package == "slimdit" and rest and rest[0] != own:
            assert FLOOR_OF[rest[0]] < FLOOR_OF[own], f"{own} imports {name}"


def test_every_room_has_a_floor_and_says_what_it_holds():
    rooms = {room(path) for path in MODULES} - {"__init__"}
    assert rooms == FLOOR_OF.keys()
    for path in LIBRARY.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_folder_and_no_file_is_too_large():
    for folder in {path.parent for path in MODULES}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MOST_FILES, folder
    for path in [*MODULES, *SCRIPTS.glob("*.py"), *(ROOT / "workflow/rules").glob("*.smk")]:
        assert len(path.read_text().splitlines()) <= MOST_LINES, path
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_rules_script_holds_one_function_of_its_name(path):
    functions = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert functions == [Path(path).stem]


def test_no_two_classes_share_a_name():
    names = [
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(names) == sorted(set(names))
