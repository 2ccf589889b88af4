"""What the options of a component may be, as its constructor's annotations say; torch-free.

    def __init__(self, num_heads: int, group_size: Annotated[int, Divides("num_heads")]): ...

A type with limits of numbers alone becomes a JSON schema. A limit that names a size (of the
structure that the component is for, or another option) is judged where that size is known.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

RENAMED = {"head_size": "head_dim", "copies_per_class": "memorization_per_class"}  # old: new
JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}
PYTHON_TYPES = {"integer": int, "number": (int, float), "string": str, "boolean": bool}
NOUNS = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}
BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "a multiple of",
}


@dataclass(frozen=True)
class Limit:
    """bound: a number, or the name of a size."""

    bound: float | str = ""
    schema_key: ClassVar[str] = ""

    @property
    def schema(self) -> dict:
        """What a JSON schema can say of it."""
        is_number = self.schema_key and not isinstance(self.bound, str)
        return {self.schema_key: self.bound} if is_number else {}

    def problem(self, value: float, bound: float) -> str | None:
        """What is wrong with `value`, where the bound is this number; None if nothing is."""
        raise NotImplementedError

    def named(self, bound: float) -> str:
        return f"{self.bound} {bound}" if isinstance(self.bound, str) else str(bound)


class AtLeast(Limit):
    schema_key = "minimum"

    def problem(self, value: float, bound: float) -> str | None:
        return f"is less than {self.named(bound)}" if value < bound else None


class AtMost(Limit):
    schema_key = "maximum"

    def problem(self, value: float, bound: float) -> str | None:
        return f"is more than {self.named(bound)}" if value > bound else None


class Divides(Limit):
    def problem(self, value: int, bound: int) -> str | None:
        return f"does not divide {self.named(bound)}" if value < 1 or bound % value else None


@dataclass(frozen=True)
class MultipleOf(Limit):
    """times: of the bound, where a multiple of several times it is needed."""

    times: int = 1
    schema_key: ClassVar[str] = "multipleOf"

    def problem(self, value: int, bound: int) -> str | None:
        return f"is not a multiple of {self.named(bound)}" if value % (self.times * bound) else None

    def named(self, bound: int) -> str:
        times = f"{self.times} * {self.bound}, {self.times * bound}"
        return super().named(bound) if self.times == 1 else times


class Square(Limit):
    def problem(self, value: int, bound: str) -> str | None:
        is_square = value > 0 and isqrt(value) ** 2 == value
        return None if is_square else "is not a square number (4, 9, 16, ...)"


def limits_of(annotation) -> list[Limit]:
    """The limits in an annotation, those of the members of a union among them."""
    found = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, Limit) else limits_of(argument)
    return found


def limit_problems(
    limits: Mapping[str, Iterable[Limit]], sizes: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with sizes that have limits, one problem each: "group_size 5 does not divide
    num_heads 6".

    limits: by the name of a size. A limit that names a size which is not in `sizes` is not judged.
    """
    for name, value in ((name, sizes[name]) for name in limits if sizes.get(name) is not None):
        for limit in limits[name]:
            bound = sizes.get(limit.bound, limit.bound)
            is_known = not isinstance(bound, str) or not bound
            if is_known and (problem := limit.problem(value, bound)):
                yield f"{name} {value} {problem}"
                break


def type_schema(annotation) -> dict:
    """JSON schema of what an annotation allows; {} for types that a config cannot hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        schema = type_schema(arguments[0])
        for limit in arguments[1:]:
            schema |= limit.schema
        return schema
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [type_schema(argument) for argument in arguments]}
    return {"type": JSON_TYPES[annotation]} if annotation in JSON_TYPES else {}


def options_schema(name: str, options: Iterable[inspect.Parameter]) -> dict:
    """JSON schema of the options of the component `name`."""
    options = list(options)
    own = [each for each in options if each.kind != each.VAR_KEYWORD]
    return {
        "title": name,
        "type": "object",
        "additionalProperties": len(own) < len(options),
        "properties": {each.name: type_schema(each.annotation) for each in own},
        "required": [each.name for each in own if each.default is each.empty],
    }


def fits(value, schema: dict) -> bool:
    """Whether a value is what `type_schema` says."""
    if "anyOf" in schema:
        return any(fits(value, each) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if schema.get("type") == "null":
        return value is None
    wanted_type = PYTHON_TYPES.get(schema.get("type"), object)
    is_of_type = isinstance(value, wanted_type) and isinstance(value, bool) <= (wanted_type is bool)
    return is_of_type and schema.get("minimum", value) <= value <= schema.get("maximum", value)


def wanted(schema: dict) -> str:
    """What a schema asks for, in words; its description where it has one."""
    if "description" in schema:
        return schema["description"]
    if "enum" in schema:
        return either(schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return either(map(wanted, schema["anyOf"]))
    noun = NOUNS.get(schema.get("type"), "given")
    if schema.get("type") == "array":
        return noun + _of_items(schema)
    if schema.get("minProperties"):
        return f"{noun} that is not empty"
    bounds = [f"{sign} {schema[bound]}" for bound, sign in BOUNDS.items() if bound in schema]
    return " ".join([noun, " and ".join(bounds)]).strip()


def either(choices: Iterable) -> str:
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


def _of_items(schema: dict) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    words = f" of {least}" if least == most else f" of at least {least}" if least else ""
    words += ", all different" if schema.get("uniqueItems") else ""
    return f"{words}, each {wanted(schema['items'])}"
