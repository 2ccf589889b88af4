"""What a step's code does, as digests of the definitions that it reaches.

A definition is a function, a class or a constant of the library, wherever it stands. Comments,
docstrings, layout, import lines and the file that holds it are no part of it. Of a registry only
the components in use count: a new attention, or a change in one, leaves the other rows alone. What
is defined in AROUND surrounds a step, or brings its results to the disk, and does not count. Code
that cannot be followed so (a loop at a module's top level, a star import) is refused.
"""

import ast
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGE = "slimdit"
AROUND = (f"{PACKAGE}.jobs", f"{PACKAGE}.storage", f"{PACKAGE}.core.code_digest")
REGISTRY = "Registry"
SCRIPTS = Path(__file__).parents[2]
ANNOTATIONS = ("annotation", "returns")
COMPOUND = (ast.For, ast.While, ast.With, ast.Try, ast.If, ast.Match)  # cannot be followed
# Fields of a syntax tree that not every Python has, or that say how a node was written.
NOT_MEANT = ("ctx", "kind", "type_comment", "type_ignores", "type_params")
DIGITS = 12

Import = tuple[str, str]  # of a name: module and name in it, which is empty for the module itself


def definition_digests(
    module: str, name: str, used: Mapping[str, set[str]], scripts: Path = SCRIPTS
) -> dict[str, str]:
    """Name -> digest of every definition that the one called `name` in `module` reaches, itself
    among them.

    used: kind of registry -> names of the components in use; those of other registries do not
    count. Raises ValueError for a component or a name that is nowhere defined.
    """
    waiting, reached = [(module, name)], {}
    while waiting:
        place = waiting.pop()
        if place in reached:
            continue
        source = load(place[0], scripts)
        if registry := source.registry(place[1]):
            waiting += registry.places(used)
            continue
        reached[place] = source.digest(place[1])
        waiting += source.reached(place[1])
    by_name = defaultdict(list)
    for (_, each), digest in reached.items():
        by_name[each].append(digest)
    return {
        each: digests[0] if len(digests) == 1 else digest_of("".join(sorted(digests)))
        for each, digests in sorted(by_name.items())
    }


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


class RegistrySource(NamedTuple):
    """A registry as its source has it; entries: name -> "file.Class"."""

    kind: str
    package: str
    entries: dict[str, str]

    def places(self, used: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
        for name in sorted(used.get(self.kind, ())):
            if name not in self.entries:
                raise ValueError(f"{self.kind} {name!r} is in no registry of {self.package}")
            module, _, class_name = self.entries[name].rpartition(".")
            yield f"{self.package}.{module}", class_name


class Source:
    """The definitions of a module: name -> the statements that make it, in order.

    Statements that define nothing belong to the definition that they are about, as in
    `operator.register(...)` and `@operator.register_fake`, or to all of the module's.
    """

    def __init__(self, module: str, scripts: Path):
        self.module, self.scripts = module, scripts
        path = file_of(module, scripts)
        if path is None:
            raise ValueError(f"{module} is no module in {scripts}")
        body = ast.parse(path.read_text(encoding="utf-8")).body
        self.imports = imports_of(body)
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.shared: list[ast.stmt] = []
        for statement in filter(is_meant, body):
            if isinstance(statement, COMPOUND):
                raise ValueError(f"{module} has {type(statement).__name__} at its top level")
            names = set(defined_by(statement))
            names |= {name for name in subjects_of(statement) if name in self.definitions}
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if not names:
                self.shared.append(statement)
        self._targets: dict[str, list] = {}
        self._digests: dict[str, str] = {}

    def statements(self, name: str) -> list[ast.stmt]:
        return [*self.definitions[name], *self.shared]

    def registry(self, name: str) -> RegistrySource | None:
        """What `name` is where it is defined as Registry("kind", __name__, {...})."""
        if name not in self.definitions:
            raise ValueError(f"{self.module} defines no {name}")
        value = getattr(self.definitions[name][0], "value", None)
        is_registry = isinstance(value, ast.Call) and getattr(value.func, "id", None) == REGISTRY
        if not is_registry:
            return None
        kind, _, entries = value.args
        return RegistrySource(ast.literal_eval(kind), self.module, ast.literal_eval(entries))

    def digest(self, name: str) -> str:
        """Of what the definition says, and of the names from outside the library in it."""
        if name not in self._digests:
            outside = sorted({target for _, target in self.targets(name) if target})
            said = "".join(normal_form(statement) for statement in self.statements(name))
            self._digests[name] = digest_of("\n".join([*outside, said]))
        return self._digests[name]

    def reached(self, name: str) -> Iterator[tuple[str, str]]:
        """Where the library's definitions are that this one names."""
        return (place for place, _ in self.targets(name) if place)

    def binds(self, name: str) -> bool:
        return name in self.definitions or name in self.imports

    def find(self, name: str) -> tuple[tuple[str, str] | None, str]:
        """Where the library defines what the module calls `name`, or else its name outside."""
        if name in self.definitions:
            return (self.module, name), ""
        if name not in self.imports:
            raise ValueError(f"{self.module} defines no {name}")
        return self._imported(self.imports[name], "")

    def targets(self, name: str) -> list[tuple[tuple[str, str] | None, str]]:
        """What the definition names: where the library defines it, or else its name outside."""
        if name not in self._targets:
            found = {}
            for statement in self.statements(name):
                imports = self.imports | imports_of(ast.walk(statement))
                for used, attribute in set(references(statement)):
                    if used in self.definitions:
                        found[(self.module, used), ""] = None
                    elif used in imports:
                        found[self._imported(imports[used], attribute)] = None
            self._targets[name] = list(found)
        return self._targets[name]

    def _imported(self, target: Import, attribute: str):
        module, name = target
        if module.partition(".")[0] != PACKAGE and file_of(module, self.scripts) is None:
            return None, ".".join(filter(None, target))
        if not name or not load(module, self.scripts).binds(name):
            module, name = ".".join(filter(None, target)), attribute
        if f"{module}.".startswith(tuple(f"{each}." for each in AROUND)):
            return None, ""
        if not name:
            raise ValueError(f"{self.module} uses the whole of {module}; name what it uses of it")
        return load(module, self.scripts).find(name)


def load(module: str, scripts: Path) -> Source:
    path = file_of(module, scripts)
    return _loaded(module, scripts, path and path.stat().st_mtime_ns)


@functools.cache
def _loaded(module: str, scripts: Path, modified_ns: int | None) -> Source:
    return Source(module, scripts)


def file_of(module: str, scripts: Path) -> Path | None:
    base = scripts.joinpath(*module.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def is_meant(statement: ast.stmt) -> bool:
    """Whether it is more than an import, a docstring or what runs a file as a program."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    if isinstance(statement, ast.If) and ast.unparse(statement.test).startswith("__name__ =="):
        return False
    return not isinstance(statement, ast.Import | ast.ImportFrom)


def imports_of(nodes) -> dict[str, Import]:
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = (alias.name if alias.asname else top, "")
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if node.level or alias.name == "*":
                    raise ValueError("a relative or a star import cannot be followed")
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


def defined_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    for node in (node for target in targets if target for node in ast.walk(target)):
        if isinstance(node, ast.Name):
            yield node.id


def subjects_of(statement: ast.stmt) -> Iterator[str]:
    """The names that a call or a function's decorators begin with."""
    value = getattr(statement, "value", None)
    for node in (value, *getattr(statement, "decorator_list", [])):
        while isinstance(node, ast.Call | ast.Attribute):
            node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Name) and not isinstance(statement, ast.Assign):
            yield node.id


def references(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Names in use, each with the attribute that is taken of it, if one is; without annotations."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr
        return
    if isinstance(node, ast.Name):
        yield node.id, ""
    for field, value in ast.iter_fields(node):
        if field not in ANNOTATIONS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from references(child)


def normal_form(node) -> str:
    """What a syntax tree says, as text that is the same in every Python."""
    if isinstance(node, list):
        kept = [each for each in node if not isinstance(each, ast.stmt) or is_meant(each)]
        return f"[{','.join(map(normal_form, kept))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if isinstance(node, ast.JoinedStr):  # some Pythons have empty texts between its values
        node = ast.JoinedStr([part for part in node.values if getattr(part, "value", 1) != ""])
    fields = ((field, getattr(node, field, None)) for field in node._fields)
    said = (
        f"{field}={normal_form(value)}"
        for field, value in fields
        if field not in NOT_MEANT and value not in (None, [])
    )
    return f"{type(node).__name__}({','.join(said)})"
