"""The real images that samples are compared with, as arrays and as features."""

import json
import logging

import numpy as np

from slimdit.core.errors import InputError
from slimdit.data.subset import other_training_rows, read_images
from slimdit.evaluation.features import build_extractor
from slimdit.jobs.provenance import conditions
from slimdit.storage.files import read_csv, sha256_of, write_npz

log = logging.getLogger(__name__)


def make_reference(
    subset,
    reference,
    features,
    images_root,
    image_size,
    evaluation,
    state,
    recipe,
    images=None,
    cut=None,
    graph=None,
):
    """Write the reference and held-out images of `subset` and their features.

    `images` is the image folder again where a rule makes it, and `cut` the file that says what it
    holds; paths are relative to `images_root`.
    `state` is a folder where features are kept while they come, and progress is.
    `graph` is the extractor's, again, where it has one.

    `reference` holds arr_0 and arr_1 (images uint8 (N, H, W, 3) and labels, ordered by label),
    held_out_images and held_out_labels. `features` holds pooled, spatial and labels of the
    reference, held_out_pooled and held_out_labels, train_pooled of the training images that copies
    are looked for among (`memorization_per_class` of each class, the reference's first), and as
    JSON in `meta` what made them.
    """
    rows = sorted(read_csv(subset), key=lambda row: int(row["label"]))
    chosen = {
        "reference": [row for row in rows if row["reference"] == "1"],
        "held_out": [row for row in rows if row["split"] == "held_out"],
    }
    for name, its_rows in chosen.items():
        if not its_rows:
            raise InputError(f"{subset} has no {name} images; it should have some of each class.")
    others = other_training_rows(rows, evaluation["memorization_per_class"])
    extractor = build_extractor(**evaluation["extractor"])

    arrays = {
        name: read_images(r, images_root, image_size, name, state) for name, r in chosen.items()
    }
    labels = {
        name: np.array([int(row["label"]) for row in its_rows], dtype=np.int64)
        for name, its_rows in chosen.items()
    }
    write_npz(
        reference,
        arr_0=arrays["reference"],
        arr_1=labels["reference"],
        held_out_images=arrays["held_out"],
        held_out_labels=labels["held_out"],
    )

    def features_of(images, name):
        return extractor.features(images, evaluation["batch_size"], f"{name} features", state)

    of_reference = features_of(arrays["reference"], "reference")
    of_held_out = features_of(arrays["held_out"], "held-out")
    of_train = [of_reference["pooled"]]
    if others:
        images_of_others = read_images(others, images_root, image_size, "training", state)
        of_train.append(features_of(images_of_others, "training")["pooled"])
    meta = {
        "extractor": extractor.describe(),
        "image_size": image_size,
        "origin": conditions(
            at=features,
            recipe=recipe,
            inputs={path: sha256_of(path) for path in (subset, graph) if path},
            outputs={reference: sha256_of(reference)},
        ),
    }
    write_npz(
        features,
        pooled=of_reference["pooled"],
        spatial=of_reference["spatial"],
        labels=labels["reference"],
        held_out_pooled=of_held_out["pooled"],
        held_out_labels=labels["held_out"],
        train_pooled=np.concatenate(of_train),
        meta=np.array(json.dumps(meta, sort_keys=True)),
    )
    log.info("%d reference, %d held-out images", *(len(its_rows) for its_rows in chosen.values()))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        make_reference(**snakemake.input, **snakemake.params, **snakemake.output)
