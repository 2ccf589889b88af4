"""The parts of each registry and the options of each, read from the source: no part is imported.

A registry is a package whose `__init__.py` maps names to classes; a part's options are the
parameters of its class's constructor, or of the base class's that it has from the library.
"""

import ast
import functools
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]
PACKAGE = "slimdit"
# Of each registry, how many leading arguments the code gives itself.
GIVEN = {"attention": 2, "mlp": 1, "compression": 0, "sampler": 1, "extractor": 0}
PACKAGES = {
    "attention": "models.attention",
    "mlp": "models.mlp",
    "compression": "models.compression",
    "sampler": "diffusion.samplers",
    "extractor": "evaluation.features",
}
JSON_TYPES = {
    "int": "integer",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "None": "null",
}


@functools.cache
def option_schemas(registry: str, scripts: Path = SCRIPTS) -> dict[str, dict]:
    """JSON schema of the options of each part, by its name in the registry.

    Types are those of the annotations; defaults are given where they are literals. An option that
    the constructor looks for in a tuple, as in `if mode not in MODES`, is one of its values.
    """
    index = Source(f"{PACKAGE}.{PACKAGES[registry]}", scripts)
    return {
        name: _schema(name, _constructor(index, part, registry), GIVEN[registry])
        for name, part in index.entries().items()
    }


def default_of(registry: str, part: str, option: str):
    """What an option is where a config leaves it out; None if the part has none or no literal."""
    return option_schemas(registry)[part]["properties"].get(option, {}).get("default")


class Source:
    """A module of the library, parsed."""

    def __init__(self, module: str, scripts: Path):
        self.module, self.scripts = module, scripts
        base = scripts.joinpath(*module.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        self.tree = ast.parse(path.read_text(encoding="utf-8"))

    def entries(self) -> dict[str, str]:
        """What the module's dictionary has under each name."""
        values = (node.value for node in self.tree.body if isinstance(node, ast.Assign))
        registry = next(value for value in values if isinstance(value, ast.Call))
        return ast.literal_eval(registry.args[2])

    def find_class(self, name: str) -> tuple["Source", ast.ClassDef] | None:
        """The class of that name and where it is defined; None if that is outside the library."""
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return self, node
            if isinstance(node, ast.ImportFrom) and name in (alias.name for alias in node.names):
                if not node.module.startswith(f"{PACKAGE}."):
                    return None
                return Source(node.module, self.scripts).find_class(name)
        return None

    def literal(self, node: ast.expr):
        """The value of a literal, or of a constant of this module; None for all else."""
        constants = {
            ast.unparse(each.targets[0]): each.value
            for each in self.tree.body
            if isinstance(each, ast.Assign)
        }
        try:
            return ast.literal_eval(constants.get(ast.unparse(node), node))
        except ValueError:
            return None


def _constructor(index: Source, part: str, registry: str):
    """Where the constructor of a registry's entry is defined, and it; None where it has none."""
    module, _, name = part.rpartition(".")
    found = Source(f"{index.module}.{module}", index.scripts).find_class(name)
    while found:
        source, node = found
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                return source, each
        bases = (source.find_class(ast.unparse(base)) for base in node.bases)
        found = next(filter(None, bases), None)
    return None


def _schema(name: str, constructor: tuple[Source, ast.FunctionDef] | None, given: int) -> dict:
    if constructor is None:  # the library does not say
        return {"title": name, "type": "object", "properties": {}, "required": []}
    source, function = constructor
    properties, required = {}, []
    for parameter, default in _parameters(function, given):
        properties[parameter.arg] = _type(parameter, source, function)
        if default is None:
            required.append(parameter.arg)
        elif (value := source.literal(default)) is not None:
            properties[parameter.arg]["default"] = value
    return {
        "title": name,
        "type": "object",
        "additionalProperties": function.args.kwarg is not None,
        "properties": properties,
        "required": required,
    }


def _parameters(function: ast.FunctionDef, given: int):
    """Parameters behind `self` and the `given` ones, each with its default, None without one."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*missing, *arguments.defaults], strict=True))
    return pairs[1 + given :] + list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _type(parameter: ast.arg, source: Source, function: ast.FunctionDef) -> dict:
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.ops[0], ast.NotIn)
            and ast.unparse(node.left) == parameter.arg
            and isinstance(values := source.literal(node.comparators[0]), tuple)
        ):
            return {"enum": list(values)}
    names = ast.unparse(parameter.annotation).split(" | ") if parameter.annotation else []
    if not names or not JSON_TYPES.keys() >= set(names):
        return {}
    types = [{"type": JSON_TYPES[name]} for name in names]
    return types[0] if len(types) == 1 else {"anyOf": types}
