"""Whether a difference between two variants is more than chance."""

import numpy as np
import pytest

from compare import compare
from slimdit.core.randomness import stream
from slimdit.storage.files import read_json, write_npz

LABELS = np.arange(60) % 3


def run_compare(folder, of_variant, of_parent, parent_labels=LABELS, parent_noise=0):
    reference = stream(0, "reference").standard_normal((80, 5))
    noise = {"variant": np.array(0), "parent": np.array(parent_noise)}
    sides = {"variant": (of_variant, LABELS), "parent": (of_parent, parent_labels)}
    for side, (pooled, labels) in sides.items():
        write_npz(folder / f"{side}.npz", pooled=pooled, labels=labels, noise_seed=noise[side])
    write_npz(folder / "reference.npz", pooled=reference)
    compare(
        features=folder / "variant.npz",
        parent_features=folder / "parent.npz",
        reference_features=folder / "reference.npz",
        difference=folder / "difference.json",
        variant="Q-S2",
        parent="S2-base",
        seed=0,
        groups_seed=0,
        recipe={"step": "compare"},
    )
    return read_json(folder / "difference.json")


@pytest.mark.parametrize(("shift", "significant"), [(0.0, False), (2.0, True)])
def test_a_clear_difference_is_significant_and_rounding_is_not(tmp_path, shift, significant):
    of_parent = stream(0, "parent").standard_normal((60, 5))
    rounded = of_parent + 1e-3 * stream(0, "rounding").standard_normal((60, 5)) + shift
    found = run_compare(tmp_path, rounded, of_parent)
    assert found["paired"] and found["significant"] == significant
    assert found["low"] <= found["difference"] <= found["high"]
    assert (found["variant"], found["parent"]) == ("Q-S2", "S2-base")
    assert found["origin"]["recipe"] == {"step": "compare"}
    assert len(found["origin"]["inputs"]) == 3


@pytest.mark.parametrize(
    ("other", "reason"),
    [({"parent_labels": LABELS[::-1]}, "other labels"), ({"parent_noise": 1}, "other noise")],
)
def test_what_shares_no_noise_or_label_is_compared_as_independent(tmp_path, other, reason):
    of_parent = stream(0, "parent").standard_normal((60, 5))
    rounded = of_parent + 1e-3 * stream(0, "rounding").standard_normal((60, 5))
    paired = run_compare(tmp_path, rounded, of_parent)
    apart = run_compare(tmp_path, rounded, of_parent, **other)
    assert "reason" not in paired
    assert (apart["paired"], apart["reason"], apart["significant"]) == (False, reason, False)
    assert apart["difference"] == paired["difference"]
    assert apart["standard_error"] > 10 * paired["standard_error"]
