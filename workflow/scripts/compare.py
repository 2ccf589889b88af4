"""Whether a variant's distance to the reference differs from its parent's by more than chance."""

import numpy as np

from slimdit.evaluation.metrics.frechet import PreparedReference
from slimdit.evaluation.metrics.uncertainty import distance_difference
from slimdit.jobs.provenance import origin
from slimdit.storage.files import load_npz, sha256_of, write_json


def compare(
    features,
    parent_features,
    reference_features,
    difference,
    variant,
    parent,
    seed,
    groups_seed,
    recipe,
):
    """Write `difference`: FD of the variant less FD of its parent, on pooled features.

    Where image i of both has the same noise and label, what chance does to both cancels. Otherwise
    the two are independent, and `reason` says what they do not share. groups_seed: of the groups
    of images that are left out for the interval.
    """
    sides = load_npz(features), load_npz(parent_features)
    reference = PreparedReference(load_npz(reference_features)["pooled"])
    pooled = [side["pooled"] for side in sides]
    labels = [side["labels"] for side in sides]
    reason = None
    if not np.array_equal(*labels):
        reason = "other labels"
    elif sides[0]["noise_seed"] != sides[1]["noise_seed"]:
        reason = "other noise"
    found = distance_difference(*pooled, reference, groups_seed, *labels, paired=reason is None)
    inputs = {path: sha256_of(path) for path in (features, parent_features, reference_features)}
    content = {
        "variant": variant,
        "parent": parent,
        "seed": seed,
        "paired": reason is None,
        **found._asdict(),
        "origin": origin(at=difference, recipe=recipe, inputs=inputs),
    }
    write_json(difference, content if reason is None else content | {"reason": reason})


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        compare(**snakemake.input, **snakemake.params, **snakemake.output)
