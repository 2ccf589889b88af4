"""Quality of one run's samples: distances to the reference, their spread, class accuracy."""

import json
import logging

import numpy as np

from slimdit.errors import InputError
from slimdit.features import build_extractor
from slimdit.files import load_npz, read_json, sha256_of, write_json, write_npz
from slimdit.image_sets import checked_images
from slimdit.metrics import PreparedReference, class_accuracy, linear_probe
from slimdit.provenance import origin
from slimdit.quality import MEASURES
from slimdit.quality import quality as measure

log = logging.getLogger(__name__)


def evaluate(
    samples,
    samples_json,
    reference_features,
    quality,
    features,
    variant,
    seed,
    evaluation,
    state,
    code,
    graph=None,
):
    """Write `quality`, the metrics of `samples` (.npz) against `reference_features`.

    `samples_json` says how the samples were made. sFD uses spatial features, all else pooled ones,
    which with their labels and the seed of the samples' noise go to `features` (.npz). `state` is
    a folder where features are kept, so that another metric does not compute them again. `graph`
    is the extractor's, where it has one.
    """
    evaluation = json.loads(evaluation)
    samples_sha256 = sha256_of(samples)
    made = read_json(samples_json)
    if made["samples_sha256"] != samples_sha256:
        raise InputError(f"{samples_json} is about other samples than {samples}; sample anew.")
    images, labels, other_sets = read_samples(samples)
    extractor = build_extractor(**evaluation["extractor"])
    reference = read_reference(reference_features, extractor.describe(), images.shape[1:3])

    def features_of(images, index):
        description = f"{variant} features, set {index}"
        return extractor.features(images, evaluation["batch_size"], description, state)

    made_features = features_of(images, 0)
    pooled = made_features["pooled"]
    metrics = measure(
        reference,
        {
            **made_features,
            "labels": labels,
            "probabilities": extractor.class_probabilities(pooled),
        },
        **{key: evaluation[key] for key in MEASURES},
    )
    if len(other_sets):
        of_other_sets = (features_of(each, i) for i, each in enumerate(other_sets, start=1))
        distances = distances_of(of_other_sets, reference)
        for name, others in distances.items():
            metrics[f"{name}_std_over_sets"] = float(np.std([metrics[name], *others], ddof=1))
    probe = linear_probe(reference["pooled"], reference["labels"])
    metrics["class_accuracy"] = class_accuracy(probe, pooled, labels)
    held_out_accuracy = class_accuracy(
        probe, reference["held_out_pooled"], reference["held_out_labels"]
    )
    noise_seed = np.array(made["sampling"]["seed"])
    write_npz(features, pooled=pooled, labels=labels, noise_seed=noise_seed)
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
            "num_train": len(reference["train_pooled"]),
            "samples_sha256": samples_sha256,
            "reference_features_sha256": sha256_of(reference_features),
            "features_sha256": sha256_of(features),
            "sampling": made["sampling"],
            "evaluation": evaluation,
            "origin": origin(code=code),
        },
    )
    log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


def distances_of(sets, reference) -> dict[str, list[float]]:
    """FD and sFD of the features of each set."""
    kinds = {"fd": "pooled", "sfd": "spatial"}
    prepared = {name: PreparedReference(reference[kind]) for name, kind in kinds.items()}
    distances = {name: [] for name in kinds}
    for features in sets:
        for name, kind in kinds.items():
            distances[name].append(prepared[name].distance(features[kind]))
    return distances


def read_samples(path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) and prompted labels (N,) of an .npz that OpenAI's evaluator reads, and
    further sets of them (K, N, H, W, 3)."""
    arrays = load_npz(path)
    if not {"arr_0", "arr_1"} <= arrays.keys():
        raise InputError(f"{path} has no arr_0 or arr_1; they should be the images and labels.")
    images = checked_images(arrays["arr_0"], path)
    return images, arrays["arr_1"], arrays.get("other_sets", ())


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
