"""What a step's code does, as a digest: comments, layout and docstrings of Python do not count.

Only the modules that the step reaches count, and of a registry (a package with one file a kind)
only the kinds in use: a new attention, or a change in one, leaves the other variants alone. What
only watches a step, starts it or says how it ended changes none of its results, and does not count.
"""

import ast
import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

PACKAGE = "slimdit"
AROUND = {  # a step; nor does what these alone reach count
    f"{PACKAGE}.{module}"
    for module in (
        *("heartbeat", "progress", "events", "job", "launch", "worker", "agent"),
        *("locks", "runs", "errors", "faults"),
    )
}
REGISTRIES = ("attention", "mlp", "surgery", "samplers", "features")


def code_digest(script: str, kinds: dict[str, set[str]], scripts: Path) -> str:
    """Digest of `<scripts>/<script>.py` and the library modules beside it that it reaches, with a
    module's kernel of the same name in C++.

    kinds: registry -> names of the kinds in use; kinds of other registries do not count.
    """
    names = sorted(_reach(script, frozenset((r, k) for r in kinds for k in kinds[r]), scripts))
    digest = hashlib.sha256()
    for name in names:
        path = _path(name, scripts)
        digest.update(f"{name}\0{_source(path).meaning}\0".encode())
        if (kernel := path.with_suffix(".cpp")).is_file():
            digest.update(kernel.read_bytes())
    return digest.hexdigest()[:16]


def _reach(script: str, kinds: frozenset[tuple[str, str]], scripts: Path) -> set[str]:
    waiting, reached = [script], set()
    while waiting:
        name = waiting.pop()
        if name in reached | AROUND or _path(name, scripts) is None:
            continue
        registry = name.removeprefix(f"{PACKAGE}.")
        if registry in REGISTRIES:
            # The registry itself only lists its kinds.
            waiting += [f"{name}.{kind}" for owner, kind in kinds if owner == registry]
            continue
        reached.add(name)
        waiting += _source(_path(name, scripts)).imports
    return reached


def _path(name: str, scripts: Path) -> Path | None:
    base = scripts.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


class _Source(NamedTuple):
    imports: list[str]  # of the package's modules
    meaning: str


def _source(path: Path) -> _Source:
    return _read(path, path.stat().st_mtime_ns)


@functools.cache
def _read(path: Path, modified_ns: int) -> _Source:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _Source(_imports(tree), _meaning(tree))


def _imports(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == PACKAGE and name != PACKAGE]


def _meaning(tree: ast.Module) -> str:
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
