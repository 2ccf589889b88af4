"""What a step's code does, as digests of the definitions that it reaches.

A definition is a function, a class or a constant of the library, wherever it stands, with the data
files beside it that it names. Comments, docstrings, layout, import lines and the file that holds it
are no part of it. Of a registry only the components in use count: a new attention, or a change in
one, leaves the other rows alone. What is defined in AROUND surrounds a step, checks its options,
files or machine, brings its results to the disk or words to the user, and does not count. Code that
cannot be followed so (at a module's top level a loop or an assignment to what another module
defines, a star import) is refused.
"""

import ast
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "slimdit"
AROUND = tuple(
    f"{PACKAGE}.{each}"
    for each in (
        *("jobs", "storage", "core.code_digest", "core.options", "core.text"),
        *("compute.compiler", "compute.out_of_memory", "data.autoencoder_files"),
    )
)
AROUND_PREFIXES = tuple(f"{each}." for each in AROUND)
REGISTRY = (f"{PACKAGE}.core.registry", "Registry")
SCRIPTS = Path(__file__).parents[2]
ANNOTATIONS = ("annotation", "returns")
COMPOUND = (ast.For, ast.While, ast.With, ast.Try, ast.If, ast.Match)  # cannot be followed
# Fields of a syntax tree that not every Python has, or that say how a node was written.
NOT_MEANT = ("ctx", "kind", "type_comment", "type_ignores", "type_params")
DIGITS = 12

Import = tuple[str, str]  # of a name: module and name in it, which is empty for the module itself
Place = tuple[str, str]  # module and name of a definition


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
        components = source.components(place[1], used)
        if components is None:
            reached[place] = source
            components = source.reached(place[1])
        waiting += components
    numbers = numbers_of(reached)
    by_name = defaultdict(dict)  # those that say the same, such as a logger, are one
    for (_, each), source in reached.items():
        by_name[each][source.digest_with_links(each, numbers)] = None
    return {
        each: "".join(digests) if len(digests) == 1 else digest_of("".join(digests))
        for each, digests in sorted(by_name.items())
    }


def numbers_of(reached: Mapping[Place, "Source"]) -> dict[Place, int]:
    """What tells definitions of one name apart: their order, which no move changes.

    Those that say the same and name nothing else of the library are one.
    """
    numbers, known = {}, defaultdict(dict)
    for place, source in reached.items():
        name = place[1]
        meaning = place if set(source.reached(name)) - {place} else source.digest(name)
        numbers[place] = known[name].setdefault(meaning, len(known[name]))
    return numbers


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


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
        files = (each for each in path.parent.iterdir() if each.suffix != ".py" and each.is_file())
        self.files = {each.name: each for each in files}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.shared: list[ast.stmt] = []
        for statement in filter(is_meant, body):
            if isinstance(statement, COMPOUND):
                raise ValueError(f"{module} has {type(statement).__name__} at its top level")
            names = set(defined_by(statement))
            if imported := sorted(names & self.imports.keys()):
                raise ValueError(f"{module} changes {imported[0]} of another module")
            names |= {name for name in subjects_of(statement) if name in self.definitions}
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if not names:
                self.shared.append(statement)
        self._targets: dict[str, list] = {}
        self._digests: dict[str, str] = {}

    def statements(self, name: str) -> list[ast.stmt]:
        return [*self.definitions[name], *self.shared]

    def components(self, name: str, used: Mapping[str, set[str]]) -> list[Place] | None:
        """Where the components in use are of a registry, which is defined as
        Registry("kind", __name__, {name: "file.Class"}); None for any other definition."""
        if name not in self.definitions:
            raise ValueError(f"{self.module} defines no {name}")
        value = getattr(self.definitions[name][0], "value", None)
        if not (isinstance(value, ast.Call) and self._is_registry(value.func)):
            return None
        kind, entries = (ast.literal_eval(value.args[index]) for index in (0, 2))
        found = []
        for component in sorted(used.get(kind, ())):
            if component not in entries:
                raise ValueError(f"{kind} {component!r} is in no registry of {self.module}")
            module, _, class_name = entries[component].rpartition(".")
            found.append((f"{self.module}.{module}", class_name))
        return found

    def _is_registry(self, function: ast.expr) -> bool:
        return any(
            used in self.imports and self._imported(self.imports[used], attribute)[0] == REGISTRY
            for used, attribute in references(function)
        )

    def digest(self, name: str) -> str:
        """Of what the definition says, of the names from outside the library in it, and of the
        files beside the module that it names."""
        if name not in self._digests:
            outside = sorted({target for _, _, target in self.targets(name) if target})
            said = "".join(normal_form(statement) for statement in self.statements(name))
            files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self._named(name)]
            self._digests[name] = digest_of("\n".join([*outside, said, *files]))
        return self._digests[name]

    def _named(self, name: str) -> list[Path]:
        nodes = (node for each in self.statements(name) for node in ast.walk(each))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        return [self.files[each] for each in sorted(self.files.keys() & texts)]

    def digest_with_links(self, name: str, numbers: Mapping[Place, int]) -> str:
        """`digest`, and what the definition names by an alias or has one of several `numbers`."""
        links = {
            f"{used} is {place[1]} {numbers.get(place, 0)}"
            for used, place, _ in self.targets(name)
            if place and (numbers.get(place, 0) or place[1] not in used.split("."))
        }
        digest = self.digest(name)
        return digest_of("\n".join([digest, *sorted(links)])) if links else digest

    def reached(self, name: str) -> Iterator[Place]:
        """Where the library's definitions are that this one names."""
        return (place for _, place, _ in self.targets(name) if place)

    def binds(self, name: str) -> bool:
        return name in self.definitions or name in self.imports

    def find(self, name: str) -> tuple[Place | None, str]:
        """Where the library defines what the module calls `name`, or else its name outside."""
        if name in self.definitions:
            return (self.module, name), ""
        if name not in self.imports:
            raise ValueError(f"{self.module} defines no {name}")
        return self._imported(self.imports[name], "")

    def targets(self, name: str) -> list[tuple[str, Place | None, str]]:
        """What the definition names, in order: the name in it, and where the library defines that,
        or else its name outside."""
        if name not in self._targets:
            found = {}
            for statement in self.statements(name):
                imports = self.imports | imports_of(ast.walk(statement))
                for used, attribute in references(statement):
                    if used in self.definitions:
                        found[used, (self.module, used), ""] = None
                    elif used in imports:
                        target = self._imported(imports[used], attribute)
                        found[f"{used}.{attribute}", *target] = None
            self._targets[name] = list(found)
        return self._targets[name]

    def _imported(self, target: Import, attribute: str):
        module, name = target
        if module.partition(".")[0] != PACKAGE and file_of(module, self.scripts) is None:
            return None, ".".join(filter(None, target))
        if not name or not load(module, self.scripts).binds(name):
            module, name = ".".join(filter(None, target)), attribute
        if f"{module}.".startswith(AROUND_PREFIXES):
            return None, ""
        if not name:
            raise ValueError(f"{self.module} uses the whole of {module}; name what it uses of it")
        return load(module, self.scripts).find(name)


@functools.cache
def load(module: str, scripts: Path) -> Source:
    """The module as it was when the process first asked for it."""
    return Source(module, scripts)


@functools.cache
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
    """The names that it defines, or assigns an attribute or an item to."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    waiting = list(getattr(statement, "targets", [getattr(statement, "target", None)]))
    for target in waiting:
        waiting += getattr(target, "elts", [])
        yield from first_name(target)


def subjects_of(statement: ast.stmt) -> Iterator[str]:
    """The names that a call or a function's decorators begin with."""
    if not isinstance(statement, ast.Assign):
        yield from first_name(getattr(statement, "value", None))
    for decorator in getattr(statement, "decorator_list", []):
        yield from first_name(decorator)


def first_name(node: ast.AST | None) -> Iterator[str]:
    """What an expression such as `name.attribute[index](argument)` begins with, if by a name."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
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
