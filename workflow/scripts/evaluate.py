"""Quality of one run's samples: distances to the reference, their spread, class accuracy."""

import logging

import numpy as np

from slimdit.evaluation.features import build_extractor
from slimdit.evaluation.metrics.probe import linear_probe, recognized
from slimdit.evaluation.metrics.uncertainty import jackknife, jackknife_error
from slimdit.evaluation.quality import distances_of, study_quality
from slimdit.evaluation.study_files import (
    check_image_size,
    read_reference,
    read_samples,
    report_of,
)
from slimdit.jobs.provenance import origin
from slimdit.storage.files import read_json, sha256_of, write_json, write_npz

log = logging.getLogger(__name__)


def evaluate(
    samples,
    samples_json,
    loss,
    reference_features,
    quality,
    features,
    variant,
    seed,
    evaluation,
    state,
    recipe,
    graph=None,
):
    """Write `quality`, the metrics of `samples` (.npz) against `reference_features`.

    `samples_json` says how the samples were made, and `loss` (JSON) holds the run's held-out loss.
    sFD uses spatial features, all else pooled ones, which with their labels and the seed of the
    samples' noise go to `features` (.npz). `state` is a folder where features are kept, so that
    another metric does not compute them again. `graph` is the extractor's, where it has one.
    """
    made, samples_sha256 = report_of(samples, samples_json)
    images, labels, other_sets = read_samples(samples)
    extractor = build_extractor(**evaluation["extractor"])
    reference = read_reference(reference_features, extractor.describe())
    check_image_size(reference, images, reference_features)

    def features_of(images, index):
        description = f"{variant} features, set {index}"
        return extractor.features(images, evaluation["batch_size"], description, state)

    made_features = features_of(images, 0)
    probe = linear_probe(reference["pooled"], reference["labels"])
    metrics, resampled = study_quality(
        reference, made_features, labels, extractor, probe, evaluation
    )
    if len(other_sets):
        of_other_sets = (features_of(each, i) for i, each in enumerate(other_sets, start=1))
        distances = distances_of(of_other_sets, reference)
        for name, others in distances.items():
            metrics[f"{name}_std_over_sets"] = float(np.std([metrics[name], *others], ddof=1))
    drawn_from = [made["sampling"][key] for key in ("seed", "labels")]
    jackknives = {name: jackknife(values, drawn_from) for name, values in resampled.items()}
    jackknives["held_out_loss"] = of_loss = read_json(loss)["held_out_loss"]
    metrics["held_out_loss"] = of_loss["whole"]
    metrics["held_out_loss_standard_error"] = jackknife_error(of_loss["left_out"])
    accuracies = {
        f"{held_out}_accuracy": float(
            recognized(probe, reference[f"{held_out}_pooled"], reference["held_out_labels"]).mean()
        )
        for held_out in ("held_out", "reconstructed_held_out")
    }
    others = {path: sha256_of(path) for path in (reference_features, graph) if path}
    noise_seed = np.array(made["sampling"]["seed"])
    write_npz(features, pooled=made_features["pooled"], labels=labels, noise_seed=noise_seed)
    write_json(
        quality,
        {
            "variant": variant,
            "seed": seed,
            "num_samples": len(images),
            "num_reference": len(reference["pooled"]),
            "extractor": extractor.describe(),
            "metrics": metrics,
            "jackknife": jackknives,  # for the errors of differences between rows
            "probe": {**accuracies, "num_held_out": len(reference["held_out_labels"])},
            "num_train": len(reference["reconstructed_train_pooled"]),
            "sampling": made["sampling"],
            "evaluation": evaluation,
            "origin": origin(
                at=quality,
                recipe=recipe,
                inputs={loss: sha256_of(loss), samples: samples_sha256, **others},
                outputs={features: sha256_of(features)},
            ),
        },
    )
    log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        evaluate(**snakemake.input, **snakemake.params, **snakemake.output)
