"""What classes are called: those of ImageNet, whose folders are synset ids, have names."""

import functools
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slimdit.core.errors import InputError
from slimdit.storage.files import read_csv

SYNSETS = Path(__file__).with_name("imagenet_synsets.csv")
NOT_PLAIN = {"Cc", "Cs"}  # control characters, and bytes that are not UTF-8


def class_name(class_: str) -> str:
    """The name of the class in the folder `class_`: "tench" for n01440764, most are their own."""
    return _names().get(class_, class_)


def named_classes(data: dict) -> list[str]:
    """Of a study without images, in the order of the labels: as its `data` names them, or else by
    their labels."""
    return data["classes"] or [str(label) for label in range(data["num_classes"])]


def find_class(name: str, classes: Iterable[str]) -> str | None:
    """Which of `classes` is called `name` or has its name; None when none is."""
    classes = list(classes)
    if name in classes:
        return name
    return next((each for each in classes if class_name(each) == class_name(name)), None)


def labels_of(prompts: list[str], classes: list[str]) -> np.ndarray:
    """Labels of the classes by their folders or names, int64; raises InputError for others."""
    labels = []
    for name in prompts:
        found = find_class(name, classes)
        if found is None:
            raise InputError(
                f"sampling.prompts: {name!r} is none of the subset's classes "
                f"({', '.join(classes)})."
            )
        labels.append(classes.index(found))
    return np.array(labels, np.int64)


def is_plain(name: str) -> bool:
    """Whether a line of a CSV file can hold it."""
    return NOT_PLAIN.isdisjoint(map(unicodedata.category, name))


def printable(name: str) -> str:
    return name if is_plain(name) else repr(name)


@functools.cache
def _names() -> dict[str, str]:
    return {row["synset"]: row["name"] for row in read_csv(SYNSETS)}
