"""Classes by the names of ImageNet's synsets."""

import re

import numpy as np
import pytest

from slimdit.core.errors import InputError
from slimdit.data.class_names import SYNSETS, class_name, find_class, labels_of
from slimdit.data.draw import draw_classes
from slimdit.storage.files import read_csv
from slimdit.study.config_check import config_problems

DATA = {
    "num_classes": 2,
    "min_images_per_class": 1,
    "held_out_per_class": 1,
    "reference_per_class": 1,
    "seed": 0,
}
IMAGES = {name: ["a", "b"] for name in ("n01440764", "n01443537", "own")}


def test_a_thousand_synsets_have_names_of_their_own():
    rows = read_csv(SYNSETS)
    assert all(re.fullmatch(r"n\d{8}", row["synset"]) for row in rows)
    assert [row["synset"] for row in rows] == sorted({row["synset"] for row in rows})
    assert len(rows) == len({row["name"].casefold() for row in rows}) == 1000
    assert class_name("n03000684") == "chain saw" and class_name("cats") == "cats"


def test_a_class_is_found_by_folder_or_name_whichever_the_classes_are_called_by():
    for name in ("tench", "n01440764"):
        assert find_class(name, ["own", "n01440764"]) == "n01440764"
        assert find_class(name, ["own", "tench"]) == "tench"
        assert find_class(name, ["n01440764", "tench"]) == name
    assert find_class("trench", ["own", "n01440764"]) is None


def test_classes_are_drawn_by_name_once():
    drawn = draw_classes(IMAGES, DATA | {"classes": ["goldfish", "n01440764"]})
    assert drawn == ["n01443537", "n01440764"]
    with pytest.raises(InputError, match=r"data\.classes: 'n01440764' is 'n01440764', which is li"):
        draw_classes(IMAGES, DATA | {"classes": ["tench", "n01440764"]})


def test_prompts_are_labels_by_folder_or_name():
    classes = list(IMAGES)
    prompts = ["own", "tench", "n01443537"]
    assert np.array_equal(labels_of(prompts, classes), [2, 0, 1])
    with pytest.raises(InputError, match=r"sampling\.prompts: 'trench' is none of the subset's"):
        labels_of(["trench"], classes)


def test_a_config_may_mix_folders_and_names():
    config = {
        "data": {"classes": ["tench", "n01443537"], "photos": None},
        "sampling": {"prompts": ["n01440764", "goldfish", "own"]},
    }
    (problem,) = (p for p in config_problems(config) if p.startswith("sampling.prompts:"))
    assert "is 'own';" in problem
