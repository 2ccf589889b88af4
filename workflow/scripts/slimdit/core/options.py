"""What the options of a component may be, as its constructor's annotations say; torch-free.

    def __init__(self, num_heads: int, group_size: Annotated[int, Divides("num_heads")]): ...

A type with limits of numbers alone becomes a JSON schema. A limit that names sizes (of the
structure that the component is for, or other options) is judged where they are known.
"""

import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import isqrt
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

RENAMED = {"head_size": "head_dim", "copies_per_class": "memorization_per_class"}  # old: new
JSON_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}
PYTHON_TYPES = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "array": list,
}
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


class Sizes(dict):
    """A mapping whose keys are attributes too, at every level: Sizes(config).data.image_size."""

    def __getitem__(self, key: str):
        value = super().__getitem__(key)
        return Sizes(value) if isinstance(value, dict) else value

    __getattr__ = __getitem__

    def value(self, expression: str):
        """Of an expression such as "2 * num_heads"; None where it names what is not there."""
        try:
            return eval(expression, {"__builtins__": {"len": len, "max": max, "min": min}}, self)
        except (AttributeError, KeyError, NameError, TypeError):
            return None


@dataclass(frozen=True)
class Limit:
    """What a number must be.

    complaint: of one that is not allowed, with {} for the bound. allows: of the number and the
    bound. keyword: of a JSON schema for the same, if there is one. bound: a number, or an
    expression of sizes.
    """

    complaint: str
    allows: Callable[[float, Any], bool]
    keyword: str | None
    bound: float | str = 0

    @property
    def schema(self) -> dict:
        """What a JSON schema can say of it."""
        is_number = self.keyword and not isinstance(self.bound, str)
        return {self.keyword: self.bound} if is_number else {}

    def problem(self, value: float, sizes: Sizes) -> str | None:
        """What is wrong with `value`; None if nothing is, or the bound is not known."""
        bound, named = self.bound, str(self.bound)
        if isinstance(bound, str):
            bound = sizes.value(named)
            named += f" {bound}" if named.replace(".", "").isidentifier() else f", {bound}"
        is_allowed = bound is None or self.allows(value, bound)
        return None if is_allowed else self.complaint.format(named)


def _divides(value: int, bound: int) -> bool:
    return value >= 1 and bound % value == 0


def _is_multiple(value: int, bound: int) -> bool:
    return value % bound == 0


def _is_one_of(value: int, bound: list[int]) -> bool:
    return value in bound


def _is_square(value: int, _) -> bool:
    return value > 0 and isqrt(value) ** 2 == value


AtLeast = partial(Limit, "is less than {}", operator.ge, "minimum")
AtMost = partial(Limit, "is more than {}", operator.le, "maximum")
Divides = partial(Limit, "does not divide {}", _divides, None)
MultipleOf = partial(Limit, "is not a multiple of {}", _is_multiple, "multipleOf")
OneOf = partial(Limit, "is none of {}", _is_one_of, None)
Square = partial(Limit, "is not a square number (4, 9, 16, ...)", _is_square, None)


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

    limits: by the name of a size, or by an expression. Only numbers are judged, and those of lists.
    """
    sizes = Sizes(sizes)
    for name, its_limits in limits.items():
        value = sizes.value(name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int | float):
                problems = (limit.problem(each, sizes) for limit in its_limits)
                yield from (f"{name} {each} {problem}" for problem in filter(None, problems))


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
    if origin is list:
        return {"type": "array", "items": type_schema(arguments[0])}
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
    if is_of_type and "items" in schema:
        return all(fits(each, schema["items"]) for each in value)
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
    if isinstance(types := schema.get("type"), list):
        return either(wanted(schema | {"type": each}) for each in types)
    noun = NOUNS.get(types, "given")
    if types == "array":
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
