"""Whether a variant's distance to the reference differs from its parent's by more than chance."""

import json

import numpy as np

from slimdit.files import load_npz, sha256_of, write_json
from slimdit.metrics import paired_difference
from slimdit.provenance import origin


def compare(
    features,
    parent_features,
    reference_features,
    difference,
    variant,
    parent,
    seed,
    evaluation,
    code,
):
    """Write `difference`: FD of the variant less FD of its parent, on pooled features.

    Image i of both has the same noise and label, so that what chance does to both cancels. Where
    the two were asked for other images, there is no such pair, and it says so.
    """
    evaluation = json.loads(evaluation)
    of_variant, of_parent = load_npz(features), load_npz(parent_features)
    content = {"variant": variant, "parent": parent, "seed": seed}
    labels = of_variant["labels"]
    if np.array_equal(labels, of_parent["labels"]):
        reference = load_npz(reference_features)["pooled"]
        found = paired_difference(
            of_variant["pooled"], of_parent["pooled"], reference, evaluation["seed"], labels
        )
        content |= {"paired": True, **found._asdict()}
    else:
        content |= {"paired": False, "reason": "other labels or another number of samples"}
    sources = {
        "features_sha256": sha256_of(features),
        "parent_features_sha256": sha256_of(parent_features),
    }
    write_json(difference, content | {"origin": origin(code=code, **sources)})


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        compare(**snakemake.input, **snakemake.params, **snakemake.output)
