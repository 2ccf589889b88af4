"""The images that samples are compared with, as arrays and as features."""

import json
import logging

import numpy as np

from slimdit.core.errors import InputError
from slimdit.data.subset import compared_rows, read_images
from slimdit.evaluation.features import build_extractor
from slimdit.jobs.provenance import conditions
from slimdit.storage.files import load_npz, read_csv, sha256_of, write_npz

log = logging.getLogger(__name__)


def make_reference(
    subset,
    reconstructions,
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
    """Write the reference of `subset`, and features of it, of the held-out images, and of both and
    more training images through the autoencoder, which `reconstructions` (.npz) holds.

    `images` is the image folder again where a rule makes it, and `cut` the file that says what it
    holds; paths are relative to `images_root`.
    `state` is a folder where features are kept while they come, and progress is.
    `graph` is the extractor's, again, where it has one.

    `reference` holds arr_0 and arr_1: images uint8 (N, H, W, 3) and labels. `features` holds
    pooled, spatial and labels of the reference, the same with held_out_ before; pooled and spatial
    with reconstructed_ and reconstructed_held_out_ before; reconstructed_train_pooled of the
    training images that copies are looked for among, the reference's first; and as JSON in `meta`
    what made them. Images are in the order of `subset`.
    """
    chosen = compared_rows(read_csv(subset))
    for name, its_rows in chosen.items():
        if not its_rows:
            raise InputError(f"{subset} has no {name} images; it should have some of each class.")
    extractor = build_extractor(**evaluation["extractor"])

    arrays = {
        name: read_images(r, images_root, image_size, name, state) for name, r in chosen.items()
    }
    labels = {
        name: np.array([int(row["label"]) for row in its_rows], dtype=np.int64)
        for name, its_rows in chosen.items()
    }
    write_npz(reference, arr_0=arrays["reference"], arr_1=labels["reference"])

    def features_of(images, name):
        return extractor.features(images, evaluation["batch_size"], f"{name} features", state)

    decoded = load_npz(reconstructions)
    found = {
        "": features_of(arrays["reference"], "reference"),
        "held_out_": features_of(arrays["held_out"], "held-out"),
        "reconstructed_": features_of(decoded["reference"], "reconstructed reference"),
        "reconstructed_held_out_": features_of(decoded["held_out"], "reconstructed held-out"),
    }
    of_train = [found["reconstructed_"]["pooled"]]
    if len(decoded["other_train"]):
        others = features_of(decoded["other_train"], "reconstructed training")
        of_train.append(others["pooled"])
    meta = {
        "extractor": extractor.describe(),
        "image_size": image_size,
        "origin": conditions(
            at=features,
            recipe=recipe,
            inputs={path: sha256_of(path) for path in (subset, reconstructions, graph) if path},
            outputs={reference: sha256_of(reference)},
        ),
    }
    write_npz(
        features,
        **{
            f"{prefix}{kind}": each
            for prefix, kinds in found.items()
            for kind, each in kinds.items()
        },
        labels=labels["reference"],
        held_out_labels=labels["held_out"],
        reconstructed_train_pooled=np.concatenate(of_train),
        meta=np.array(json.dumps(meta, sort_keys=True)),
    )
    log.info("%d reference, %d held-out images", *(len(its_rows) for its_rows in chosen.values()))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        make_reference(**snakemake.input, **snakemake.params, **snakemake.output)
