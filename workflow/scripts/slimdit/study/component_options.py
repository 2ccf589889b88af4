"""The options of every component and what it says of itself, read from its source: no component is
imported, so that torch is not."""

import ast
import builtins
import functools
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from slimdit.core import options
from slimdit.core.code_digest import SCRIPTS, Source, load
from slimdit.core.registry import Registry
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.evaluation.features import EXTRACTORS
from slimdit.models.attention import ATTENTION
from slimdit.models.compression import COMPRESSION
from slimdit.models.mlp import MLP

REGISTRIES = {each.kind: each for each in (ATTENTION, MLP, COMPRESSION, SAMPLERS, EXTRACTORS)}


@dataclass(frozen=True)
class ComponentSource:
    """What the source of a component says.

    schema: of its options. limits: of the sizes that its constructor takes. defaults: of its
    options, where they are literal. attributes: of its class, where they are literal.
    """

    name: str
    schema: dict
    limits: dict[str, list[options.Limit]]
    defaults: dict
    attributes: dict

    def limit_problems(self, own: dict, sizes: dict) -> Iterator[str]:
        """What is wrong with its options `own` for these sizes, or with the sizes."""
        return options.limit_problems(self.limits, {**sizes, **self.defaults, **own})


@functools.cache
def components(kind: str) -> dict[str, ComponentSource]:
    """The components of a registry by name."""
    registry = REGISTRIES[kind]
    return {name: _component(registry, name) for name in registry}


def default_of(kind: str, name: str, option: str):
    """What an option is where a config leaves it out; None if it is unknown."""
    return components(kind)[name].defaults.get(option)


def _component(registry: Registry, name: str) -> ComponentSource:
    module, _, class_name = registry.entries[name].rpartition(".")
    attributes, parameters = {}, []
    for source, node in _lineage(f"{registry.package}.{module}", class_name):
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                parameters = parameters or _parameters(statement, source)
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                target = getattr(statement, "target", None) or statement.targets[0]
                attributes.setdefault(ast.unparse(target), _literal(statement.value, source))
    shared = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=UNKNOWN, annotation=each)
        for key, each in registry.shared.items()
    ]
    own = parameters[1 + len(registry.given) :] + shared
    return ComponentSource(
        name,
        options.options_schema(name, own),
        {each.name: options.limits_of(each.annotation) for each in parameters + shared},
        {each.name: each.default for each in own if each.default not in (each.empty, UNKNOWN)},
        attributes,
    )


def _lineage(module: str, name: str) -> Iterator[tuple[Source, ast.ClassDef]]:
    """A class and those of its base classes that are the library's, nearest first."""
    place, _ = load(module, SCRIPTS).find(name)
    if place is None:
        return
    source = load(place[0], SCRIPTS)
    node = source.definitions[place[1]][0]
    yield source, node
    for base in node.bases:
        if isinstance(base, ast.Name) and source.binds(base.id):
            yield from _lineage(source.module, base.id)


class Unknown:
    """What a name stands for that only an import would tell, and all that is made of it."""

    def _itself(self, *_):
        return self

    __getattr__ = __getitem__ = __call__ = __or__ = __ror__ = _itself


UNKNOWN = Unknown()


class Names(dict):
    """What names in a signature mean: the language's, the limits', a module's literal constants."""

    def __init__(self, source: Source):
        super().__init__({**vars(builtins), **vars(typing), **vars(options)})
        self.source = source

    def __missing__(self, name: str):
        definition = self.source.definitions.get(name, [None])[0]
        is_constant = isinstance(definition, ast.Assign)
        return _literal(definition.value, self.source) if is_constant else UNKNOWN


def _literal(node: ast.expr, source: Source):
    if isinstance(node, ast.Name):
        return Names(source)[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


def _parameters(function: ast.FunctionDef, source: Source) -> list[inspect.Parameter]:
    """The parameters of a function, with the values of their annotations and defaults."""
    names, arguments = Names(source), function.args

    def value(node: ast.expr | None):
        if node is None:
            return inspect.Parameter.empty
        return eval(compile(ast.Expression(node), source.module, "eval"), {}, names)

    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    written = [
        *(
            (each, default, "POSITIONAL_OR_KEYWORD")
            for each, default in zip(positional, defaults, strict=True)
        ),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, repeat("KEYWORD_ONLY")),
        *((each, None, "VAR_KEYWORD") for each in [arguments.kwarg] if each),
    ]
    return [
        inspect.Parameter(
            each.arg,
            getattr(inspect.Parameter, kind),
            default=value(default),
            annotation=value(each.annotation),
        )
        for each, default, kind in written
    ]
