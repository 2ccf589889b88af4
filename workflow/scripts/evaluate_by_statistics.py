"""Quality of one run's samples by the published statistics of a reference, without its images."""

import logging

import numpy as np

from slimdit.evaluation.features import build_extractor
from slimdit.evaluation.image_sets import reference_statistics
from slimdit.evaluation.metrics.uncertainty import jackknife
from slimdit.evaluation.quality import quality_by_statistics
from slimdit.evaluation.study_files import read_samples, report_of
from slimdit.jobs.provenance import origin
from slimdit.storage.files import sha256_of, write_json, write_npz

log = logging.getLogger(__name__)


def evaluate_by_statistics(
    samples,
    samples_json,
    statistics,
    quality,
    features,
    variant,
    seed,
    evaluation,
    state,
    recipe,
    graph=None,
):
    """Write `quality` and `features` as `evaluate` does; `statistics` (.npz) holds mu and sigma of
    pooled features, or mu_s and sigma_s of spatial ones, or both.

    Raises InputError for statistics of another extractor's features.
    """
    made, samples_sha256 = report_of(samples, samples_json)
    images, labels, other_sets = read_samples(samples)
    reference = reference_statistics(statistics, evaluation["extractor"], images.shape[1])
    extractor = build_extractor(**evaluation["extractor"])

    def features_of(images, index):
        description = f"{variant} features, set {index}"
        return extractor.features(images, evaluation["batch_size"], description, state)

    def measured(found):
        by_kind = {**found, "labels": labels}
        by_kind["probabilities"] = extractor.class_probabilities(found["pooled"])
        options = {key: evaluation[key] for key in ("score_split_size", "seed")}
        return quality_by_statistics(reference, by_kind, **options)

    found = features_of(images, 0)
    metrics, resampled = measured(found)
    if len(other_sets):
        others = [measured(features_of(each, i))[0] for i, each in enumerate(other_sets, start=1)]
        for name in resampled:
            values = [each[name] for each in (metrics, *others)]
            metrics[f"{name}_std_over_sets"] = float(np.std(values, ddof=1))
    drawn_from = [made["sampling"][key] for key in ("seed", "labels")]
    noise_seed = np.array(made["sampling"]["seed"])
    write_npz(features, pooled=found["pooled"], labels=labels, noise_seed=noise_seed)
    inputs = {path: sha256_of(path) for path in (statistics, graph) if path}
    write_json(
        quality,
        {
            "variant": variant,
            "seed": seed,
            "num_samples": len(images),
            "num_reference": None,  # they do not say
            "extractor": extractor.describe(),
            "metrics": metrics,
            "jackknife": {name: jackknife(each, drawn_from) for name, each in resampled.items()},
            "sampling": made["sampling"],
            "evaluation": evaluation,
            "origin": origin(
                at=quality,
                recipe=recipe,
                inputs={samples: samples_sha256, **inputs},
                outputs={features: sha256_of(features)},
            ),
        },
    )
    log.info("%s", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        evaluate_by_statistics(**snakemake.input, **snakemake.params, **snakemake.output)
