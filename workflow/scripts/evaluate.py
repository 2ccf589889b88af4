"""Quality of one run's samples: distances to the reference, coverage and class accuracy."""

import json
import logging

import numpy as np

from slimdit.errors import InputError
from slimdit.features import build_extractor
from slimdit.files import load_npz, read_json, sha256_of, write_json
from slimdit.metrics import (
    class_accuracy,
    frechet_distance,
    kernel_distance,
    linear_probe,
    precision_recall,
)
from slimdit.provenance import origin

log = logging.getLogger(__name__)


def evaluate(samples, samples_json, reference_features, quality, variant, seed, evaluation, code):
    """Write `quality`: the metrics of `samples` (.npz) against `reference_features`.

    `samples_json` says how the samples were made. FD, KID, precision, recall and class accuracy
    use pooled features, sFD spatial ones.
    """
    evaluation = json.loads(evaluation)
    samples_sha256 = sha256_of(samples)
    made = read_json(samples_json)
    if made["samples_sha256"] != samples_sha256:
        raise InputError(f"{samples_json} is about other samples than {samples}; sample anew.")
    images, labels = read_samples(samples)
    extractor = build_extractor(**evaluation["extractor"])
    reference = read_reference(reference_features, extractor.describe(), images.shape[1:3])

    features = extractor.features(images, evaluation["batch_size"], f"{variant} features")
    kid, kid_std = kernel_distance(
        reference["pooled"],
        features["pooled"],
        evaluation["kid_subsets"],
        evaluation["kid_subset_size"],
        evaluation["seed"],
    )
    precision, recall = precision_recall(
        reference["pooled"], features["pooled"], evaluation["neighbours"]
    )
    probe = linear_probe(reference["pooled"], reference["labels"])
    metrics = {
        "fd": frechet_distance(reference["pooled"], features["pooled"]),
        "sfd": frechet_distance(reference["spatial"], features["spatial"]),
        "kid": kid,
        "kid_std": kid_std,
        "precision": precision,
        "recall": recall,
        "class_accuracy": class_accuracy(probe, features["pooled"], labels),
    }
    held_out_accuracy = class_accuracy(
        probe, reference["held_out_pooled"], reference["held_out_labels"]
    )
    write_json(
        quality,
        {
            "variant": variant,
            "seed": seed,
            "num_samples": len(images),
            "num_reference": len(reference["pooled"]),
            "extractor": extractor.describe(),
            "metrics": metrics,
            "probe": {
                "held_out_accuracy": held_out_accuracy,
                "num_held_out": len(reference["held_out_labels"]),
            },
            "samples_sha256": samples_sha256,
            "sampling": made["sampling"],
            "evaluation": evaluation,
            "origin": origin(code=code),
        },
    )
    log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


def read_samples(path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) and prompted labels (N,) of an .npz that OpenAI's evaluator reads."""
    arrays = load_npz(path)
    if not {"arr_0", "arr_1"} <= arrays.keys():
        raise InputError(f"{path} has no arr_0 or arr_1; they should be the images and labels.")
    if arrays["arr_0"].ndim != 4:
        raise InputError(
            f"arr_0 of {path} has shape {arrays['arr_0'].shape}; "
            "it should be (number, height, width, 3)."
        )
    return arrays["arr_0"], arrays["arr_1"]


def read_reference(path, extractor: dict, sample_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Features that make_reference wrote; raises InputError for another extractor or image size."""
    arrays = load_npz(path)
    if "meta" not in arrays:
        raise InputError(f"{path} has no meta; it should be made by the rule make_reference.")
    meta = json.loads(str(arrays["meta"]))
    if meta["extractor"] != extractor:
        raise InputError(
            f"{path} has features of {_named(meta['extractor'])} but samples are to be evaluated "
            f"by {_named(extractor)}; make the reference anew."
        )
    size = meta["image_size"]
    if sample_size != (size, size):
        raise InputError(
            f"samples are of {sample_size[0]}x{sample_size[1]} pixels and the reference of {path} "
            f"is of {size}x{size}; both should have the study's image size."
        )
    return arrays


def _named(extractor: dict) -> str:
    options = ", ".join(f"{name} {value}" for name, value in sorted(extractor["options"].items()))
    return f"{extractor['name']} ({options}; weights {extractor['weights_sha256'][:8]})"


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        evaluate(**snakemake.input, **snakemake.params, **snakemake.output)
