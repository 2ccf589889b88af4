"""What annotations say of options: in words, as a schema, and where a component is built."""

from typing import Annotated, Literal

import pytest

from slimdit.core.errors import InputError
from slimdit.core.options import (
    AtLeast,
    AtMost,
    Divides,
    MultipleOf,
    Square,
    fits,
    limit_problems,
    limits_of,
    type_schema,
    wanted,
)
from slimdit.core.registry import Registry

SIZES = {"num_heads": 6, "tokens": 16}


@pytest.mark.parametrize(
    ("limit", "good", "bad", "problem"),
    [
        (AtLeast(2), 2, 1, "is less than 2"),
        (AtMost("num_heads"), 6, 7, "is more than num_heads 6"),
        (Divides("num_heads"), 3, 4, "does not divide num_heads 6"),
        (Divides("num_heads"), 1, 0, "does not divide num_heads 6"),
        (MultipleOf("num_heads"), 12, 13, "is not a multiple of num_heads 6"),
        (MultipleOf("2 * num_heads"), 24, 18, "is not a multiple of 2 * num_heads, 12"),
        (Square(), 9, 8, "is not a square number (4, 9, 16, ...)"),
        (Square(), 1, -1, "is not a square number (4, 9, 16, ...)"),
    ],
)
def test_a_limit_says_what_is_wrong(limit, good, bad, problem):
    assert not list(limit_problems({"size": [limit]}, SIZES | {"size": good}))
    assert list(limit_problems({"size": [limit]}, SIZES | {"size": bad})) == [
        f"size {bad} {problem}"
    ]


def test_a_limit_by_a_size_that_is_not_known_is_not_judged():
    assert not list(limit_problems({"size": [AtMost("experts")]}, {"size": 9}))
    assert not list(limit_problems({"size": [AtMost("num_heads")]}, SIZES | {"size": None}))


@pytest.mark.parametrize(
    ("annotation", "words", "good", "bad"),
    [
        (int, "a whole number", 1, True),
        (float, "a number", 1, "1"),
        (bool, "true or false", False, 0),
        (str | None, "text or null", None, 1),
        (Literal["a", "b"], "a or b", "b", "c"),
        (Annotated[int, AtLeast(3), AtMost("num_heads")], "a whole number >= 3", 99, 2),
        (Annotated[float, AtLeast(0), AtMost(1)] | None, "a number >= 0 and <= 1 or null", 1, 1.5),
    ],
)
def test_a_type_in_words_and_what_fits_it(annotation, words, good, bad):
    schema = type_schema(annotation)
    assert wanted(schema) == words
    assert fits(good, schema) and not fits(bad, schema)


def test_limits_are_found_in_unions():
    assert limits_of(Annotated[int, AtLeast(1)] | None) == [AtLeast(1)]


def test_an_error_inside_a_component_is_not_taken_for_the_users(tmp_path, monkeypatch):
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty/it.py").write_text(
        "class It:\n    def __init__(self, given, own=1):\n        len(own)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("thing", "faulty", {"it": "it.It"}, given=("given",))
    with pytest.raises(TypeError, match="has no len"):
        registry.build({"name": "it"}, 0)
    with pytest.raises(InputError, match=r"thing 'it': .*'other'; its options are: own"):
        registry.build({"name": "it", "other": 2}, 0)
    with pytest.raises(InputError, match="thing 'that' is unknown; known: it"):
        registry.build({"name": "that"}, 0)
