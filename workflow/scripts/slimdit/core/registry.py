"""Components by the names that configs have for them, each imported when it is asked for."""

import importlib
import inspect
from collections.abc import Iterator, Mapping

from slimdit.core.errors import InputError


class Registry(Mapping):
    """Classes by name, one file each.

    kind: what a component is called in messages, and its registry in digests. package: where the
    files lie. entries: name in a config -> "file.Class".
    """

    def __init__(self, kind: str, package: str, entries: dict[str, str]):
        self.kind, self.package, self.entries = kind, package, entries

    def __getitem__(self, name: str) -> type:
        module, _, class_name = self.entries[name].rpartition(".")
        return getattr(importlib.import_module(f"{self.package}.{module}"), class_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def build(self, options: dict, *arguments):
        """The component that `options` names: {"name": ..., **its own options}.

        arguments: what the code gives itself, before the options. Raises InputError that lists the
        known names, or says which option is missing or unknown.
        """
        options = dict(options)
        name = options.pop("name")
        if name not in self.entries:
            raise InputError(f"{self.kind} {name!r} is unknown; known: {', '.join(self.entries)}.")
        component = self[name]
        try:
            inspect.signature(component).bind(*arguments, **options)
        except TypeError as error:
            known = list(inspect.signature(component).parameters)[len(arguments) :]
            raise InputError(
                f"{self.kind} {name!r}: {error}; its options are: {', '.join(known) or 'none'}."
            ) from None
        return component(*arguments, **options)
