"""The options of every component and what it says of itself, read from its source: no component is
imported, so that torch is not."""

import ast
import functools
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass

from slimdit.core import options
from slimdit.core.code_digest import SCRIPTS, Source, load
from slimdit.core.registry import Registry
from slimdit.diffusion.caches import CACHES
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.evaluation.features import EXTRACTORS
from slimdit.models.attention import ATTENTION
from slimdit.models.compression import COMPRESSION
from slimdit.models.mlp import MLP
from slimdit.models.published import FORMATS

REGISTRIES = {
    each.kind: each for each in (ATTENTION, MLP, COMPRESSION, FORMATS, SAMPLERS, CACHES, EXTRACTORS)
}


@dataclass(frozen=True)
class ComponentSource:
    """What the source of a component says.

    outline: a class with its constructor's signature and its attributes, inherited ones among them.
    schema: of its options. limits: of the sizes that its constructor takes. defaults: of its
    options, where they are literal.
    """

    name: str
    outline: type
    schema: dict
    limits: dict[str, list[options.Limit]]
    defaults: dict

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
    outline = _outline(f"{registry.package}.{module}", class_name)
    parameters = [
        *inspect.signature(outline).parameters.values(),
        *(
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=UNKNOWN, annotation=each)
            for key, each in registry.shared.items()
        ),
    ]
    own = parameters[len(registry.given) :]
    return ComponentSource(
        name,
        outline,
        options.options_schema(name, own),
        {each.name: options.limits_of(each.annotation) for each in parameters},
        {each.name: each.default for each in own if each.default not in (each.empty, UNKNOWN)},
    )


def _outline(module: str, name: str) -> type:
    """A class of the library, whose only method is a constructor that does nothing."""
    source = load(module, SCRIPTS)
    node = source.definitions[name][0]
    members = {}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            names = {each.id for each in ast.walk(statement.args) if isinstance(each, ast.Name)}
            meanings = {each: _meaning(each, source) for each in names if source.binds(each)}
            exec(f"def __init__({ast.unparse(statement.args)}): pass", meanings, members)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            target = getattr(statement, "target", None) or statement.targets[0]
            members[ast.unparse(target)] = _literal(statement.value, source)
    names = (base.id for base in node.bases if isinstance(base, ast.Name))
    places = (source.find(each)[0] for each in names if source.binds(each))
    return type(name, tuple(_outline(*place) for place in places if place), members)


class Unknown:
    """What a name stands for that only an import would tell, and all that is made of it."""

    def _itself(self, *_):
        return self

    __getattr__ = __getitem__ = __call__ = __or__ = __ror__ = _itself
    __iter__ = None


UNKNOWN = Unknown()


def _meaning(name: str, source: Source):
    """Of a name in a module: a type of `typing`, a limit, or a literal constant."""
    module, imported = source.imports.get(name, ("", ""))
    if module == options.__name__:
        return getattr(options, imported)
    place, outside = source.find(name)
    if place is None:
        return getattr(typing, outside.removeprefix("typing."), UNKNOWN)
    source = load(place[0], SCRIPTS)
    definition = source.definitions[place[1]][0]
    is_constant = isinstance(definition, ast.Assign)
    return _literal(definition.value, source) if is_constant else UNKNOWN


def _literal(node: ast.expr, source: Source):
    if isinstance(node, ast.Name) and source.binds(node.id):
        return _meaning(node.id, source)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNKNOWN
