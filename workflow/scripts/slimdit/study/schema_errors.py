"""What a JSON schema has against the values of a config, one sentence a fault."""

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import partial
from typing import NamedTuple

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from slimdit.core.options import RENAMED, wanted
from slimdit.core.text import shortened

MOST_LISTED = 20  # known names
QUOTES = ": write it in quotes"


class Fault(NamedTuple):
    """A sentence about a value that is refused, or a key that is refused, unknown or missing."""

    path: tuple
    kind: str  # "value", "unknown" or "missing"
    sentence: str


def _is_whole(_, value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_, value) -> bool:
    return _is_whole(_, value) or (isinstance(value, float) and math.isfinite(value))


# JSON takes 2.0 for an integer, which Python's range does not.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_whole, "number": _is_number}
    ),
)


def faults(value, schema: dict, path: tuple = (), names: Mapping | None = None) -> list[Fault]:
    """All that `schema` has against `value`, which the config has at `path`; each once, by path.

    names: the known ones by their `format` in the schema.
    """
    checker = FormatChecker(())
    for kind, known in (names or {}).items():
        if isinstance(known, Mapping):
            checker.checks(kind)(partial(_is_known, known))
    errors = Validator(schema, format_checker=checker).iter_errors(value)
    # Of a mapping's other keys the library's order is that of a set.
    errors = sorted(errors, key=lambda error: [str(key) for key in error.absolute_path])
    return list(dict.fromkeys(fault for error in errors for fault in _of(error, path, names)))


def _is_known(known: Mapping, name) -> bool:
    return not isinstance(name, str) or name in known


def dotted(path: Iterable) -> str:
    """A path as it is spoken of: variants.S2-small.apply[0]; the empty one is the whole config."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_on_one_line(part)}"
    return text.removeprefix(".") or "the config"


def hint(name, known: Iterable) -> str:
    """What was meant by a name that is not known, or what is known."""
    known = sorted(map(_on_one_line, known))
    if near := difflib.get_close_matches(str(name), known, n=1):
        return f"did you mean {near[0]}?"
    if len(known) > MOST_LISTED:
        known = [*known[:MOST_LISTED], "..."]
    return f"known: {', '.join(known)}." if known else "there are none."


def unknown(where: str, name, known: Iterable) -> str:
    """The sentence about a name that is none of the known."""
    return f"{where}: {name!r} is unknown; {hint(name, known)}"


def _on_one_line(name) -> str:
    return str(name) if str(name).isprintable() else repr(name)


def _of(error: ValidationError, path: tuple, names: Mapping) -> Iterator[Fault]:
    where, value, schema = path + tuple(error.absolute_path), error.instance, error.schema
    if error.validator == "required":
        for key in error.validator_value:
            if key not in value and key not in map(RENAMED.get, value):
                expected = wanted(schema["properties"].get(key, {}))
                text = f"{dotted((*where, key))} is missing; it should be {expected}."
                yield Fault((*where, key), "missing", text)
    elif error.validator == "additionalProperties":
        owner = f"option of {schema['title']}" if "title" in schema else "key"
        for key in value:
            if key not in schema["properties"]:
                known = schema["properties"].keys() - {"name"}  # of components, no option
                text = f"{dotted((*where, key))} is no {owner}; {hint(key, known)}"
                if (new := RENAMED.get(key)) in schema["properties"]:
                    text = f"{dotted((*where, key))} is now called {new}."
                yield Fault((*where, key), "unknown", text)
    elif "propertyNames" in error.absolute_schema_path:
        text = f"{dotted(where)} has the key {shown(value)}; it should be {wanted(schema)}"
        text += f"{QUOTES if _is_meant_as_text(value, schema) else ''}."
        yield Fault((*where, value), "value", text)
    elif error.validator == "format":
        known = names[error.validator_value]
        yield Fault(where, "value", unknown(dotted(where), value, known))
    else:
        is_of_list = any(isinstance(key, int) for key in where[-1:])
        is_empty = value is None and not is_of_list  # a key alone
        complaint = _complaint(value, schema, may_be_text=not is_empty)
        yield Fault(where, "value", f"{dotted(where)} is {complaint}.")


def _complaint(value, schema: dict, may_be_text: bool) -> str:
    if isinstance(value, bool) and (switch := "on" if value else "off") in schema.get("enum", ()):
        return f"{shown(value)} to YAML; write '{switch}' in quotes"
    if isinstance(value, str) and (number := _as_number(value, schema)):
        return f"{shown(value)}, text to YAML; write {number}"
    if may_be_text and _is_meant_as_text(value, schema):
        return f"{shown(value)} to YAML; it should be {wanted(schema)}{QUOTES}"
    return f"{shown(value)}; it should be {wanted(schema)}"


def _is_meant_as_text(value, schema: dict) -> bool:
    """Whether a value that YAML took for a switch, a number or a date is allowed in quotes."""
    is_plain = isinstance(value, bool | int | float | date | None)
    return is_plain and Validator(schema).is_valid(shown(value))


def _as_number(text: str, schema: dict) -> str | None:
    """The number that a text was meant to be, as YAML reads it; None if `schema` takes none."""
    try:
        number = float(text)
    except ValueError:
        return None
    value = int(number) if number.is_integer() else number
    return yaml.safe_dump(value).split("\n")[0] if Validator(schema).is_valid(value) else None


def shown(value) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return shortened(value)
