"""Whether a difference between two variants is more than chance."""

import json

import numpy as np
import pytest

from compare import compare
from slimdit.files import read_json, write_npz
from slimdit.randomness import stream

LABELS = np.arange(60) % 3


def run_compare(folder, of_variant, of_parent, parent_labels=LABELS):
    reference = stream(0, "reference").standard_normal((80, 5))
    write_npz(folder / "variant.npz", pooled=of_variant, labels=LABELS)
    write_npz(folder / "parent.npz", pooled=of_parent, labels=parent_labels)
    write_npz(folder / "reference.npz", pooled=reference)
    compare(
        features=folder / "variant.npz",
        parent_features=folder / "parent.npz",
        reference_features=folder / "reference.npz",
        difference=folder / "difference.json",
        variant="Q-S2",
        parent="S2-base",
        seed=0,
        evaluation=json.dumps({"seed": 0}),
        code="abc",
    )
    return read_json(folder / "difference.json")


@pytest.mark.parametrize(("shift", "significant"), [(0.0, False), (2.0, True)])
def test_a_clear_difference_is_significant_and_rounding_is_not(tmp_path, shift, significant):
    of_parent = stream(0, "parent").standard_normal((60, 5))
    rounded = of_parent + 1e-3 * stream(0, "rounding").standard_normal((60, 5)) + shift
    found = run_compare(tmp_path, rounded, of_parent)
    assert found["paired"] and found["significant"] == significant
    assert found["low"] <= found["difference"] <= found["high"]
    assert (found["variant"], found["parent"], found["origin"]["code"]) == (
        "Q-S2",
        "S2-base",
        "abc",
    )


def test_other_labels_make_no_pairs(tmp_path):
    features = stream(0, "parent").standard_normal((60, 5))
    found = run_compare(tmp_path, features, features, LABELS[::-1])
    assert not found["paired"] and "labels" in found["reason"]
