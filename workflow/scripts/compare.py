"""Whether a variant's distance to the reference differs from its parent's by more than chance."""

from slimdit.evaluation.metrics.frechet import PreparedReference
from slimdit.evaluation.metrics.uncertainty import independent_difference, paired_difference
from slimdit.evaluation.sample_files import not_shared
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
    of_variant, of_parent = load_npz(features), load_npz(parent_features)
    reference = PreparedReference(load_npz(reference_features)["pooled"])
    sides = of_variant["pooled"], of_parent["pooled"]
    labels, parent_labels = of_variant["labels"], of_parent["labels"]
    content = {"variant": variant, "parent": parent, "seed": seed}
    reason = not_shared(of_variant, of_parent)
    if reason is None:
        found = paired_difference(*sides, reference, groups_seed, labels)
    else:
        found = independent_difference(*sides, reference, groups_seed, labels, parent_labels)
        content["reason"] = reason
    inputs = {path: sha256_of(path) for path in (features, parent_features, reference_features)}
    content |= {"paired": reason is None, **found._asdict()}
    write_json(
        difference, content | {"origin": origin(at=difference, recipe=recipe, inputs=inputs)}
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        compare(**snakemake.input, **snakemake.params, **snakemake.output)
