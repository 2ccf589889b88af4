"""Components by the names that configs have for them, each imported when it is asked for."""

import importlib
import inspect
from collections.abc import Iterator, Mapping

from slimdit.core.errors import InputError
from slimdit.core.options import RENAMED, fits, limit_problems, limits_of, type_schema, wanted


class Registry(Mapping):
    """Classes by name.

    A component's options are the parameters of its constructor behind those that the code gives.

    Args:
        kind: what a component is called in messages, and its registry in digests.
        package: where the files lie.
        entries: name in a config -> "file.Class".
        given: names of the constructor's first parameters, which the code gives.
        shared: options of every component that whoever builds it takes itself, with annotations.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        entries: dict[str, str],
        given: tuple[str, ...] = (),
        shared: Mapping | None = None,
    ):
        self.kind, self.package, self.entries = kind, package, entries
        self.given, self.shared = given, shared or {}

    def __getitem__(self, name: str) -> type:
        module, _, class_name = self.entries[name].rpartition(".")
        return getattr(importlib.import_module(f"{self.package}.{module}"), class_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def build(self, options: dict, *given, **sizes):
        """The component that `options` names: {"name": ..., **its own options}.

        given: values of the parameters that are given. sizes: others that the limits of options may
        name. Raises InputError that lists the known names, or says which option is missing, unknown
        or not as its annotation says.
        """
        options = {RENAMED.get(key, key): value for key, value in options.items()}
        name = options.pop("name")
        if name not in self.entries:
            raise InputError(f"{self.kind} {name!r} is unknown; known: {', '.join(self.entries)}.")
        component = self[name]
        signature = inspect.signature(component)
        if problem := _problem(signature, given, options, sizes):
            known = ", ".join(list(signature.parameters)[len(given) :]) or "none"
            raise InputError(f"{self.kind} {name!r}: {problem}; its options are: {known}.")
        return component(*given, **options)


def _problem(signature: inspect.Signature, given: tuple, options: dict, sizes: dict) -> str | None:
    """What a call of that signature has against its arguments; None if nothing."""
    try:
        bound = signature.bind(*given, **options)
    except TypeError as error:
        return str(error)
    bound.apply_defaults()
    annotations = {name: each.annotation for name, each in signature.parameters.items()}
    for name in options.keys() & annotations.keys():
        if not fits(options[name], schema := type_schema(annotations[name])):
            return f"{name} is {options[name]!r}; it should be {wanted(schema)}"
    limits = {name: limits_of(annotation) for name, annotation in annotations.items()}
    return next(limit_problems(limits, sizes | bound.arguments), None)
