"""Every measure of one set of samples against a reference, from the features of both."""

import numpy as np

from slimdit.evaluation.metrics.frechet import PreparedReference, frechet_distance
from slimdit.evaluation.metrics.inception_score import inception_score
from slimdit.evaluation.metrics.kid import discrepancies, kernel_inception_distance
from slimdit.evaluation.metrics.memorization import memorization
from slimdit.evaluation.metrics.precision_recall import manifold_metrics
from slimdit.evaluation.metrics.probe import recognized
from slimdit.evaluation.metrics.uncertainty import (
    all_and_without,
    extrapolated_frechet_distance,
    jackknife_error,
    jackknife_groups,
    resampled_mean,
)

# Fréchet distances: the reference's features, the samples' features.
DISTANCES = {
    "fd": ("pooled", "pooled"),
    "sfd": ("spatial", "spatial"),
    "reconstructed_fd": ("reconstructed_pooled", "pooled"),
}
MEASURES = ("neighbours", "kid_subsets", "kid_subset_size", "score_split_size", "seed")


def quality(
    reference: dict[str, np.ndarray],
    samples: dict[str, np.ndarray],
    neighbours: int,
    kid_subsets: int,
    kid_subset_size: int,
    score_split_size: int,
    seed: int,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The metrics by name; those whose arrays are not given are left out. Of DISTANCES, `kid` and
    `class_accuracy` also the values of all samples at once, then without each group that
    `jackknife_groups` gives.

    Both sets: `pooled` (N, D), `spatial` (N, S), and perhaps `labels` (N,), which stratify the
    halves and groups of the uncertainty. samples: perhaps `probabilities` (N, classes), and whether
    each is `recognized` (N,) as what it was asked to be.
    reference: perhaps of reconstructions `reconstructed_pooled`, and `reconstructed_train_pooled`
    and `reconstructed_held_out_pooled`, between which copies are told from new images. Each
    distance also `_float32_mean` as OpenAI's evaluator rounds it, `_corrected` for the number of
    images, and `_standard_error` over other samples.
    """
    of_reference, of_samples = reference.get("labels"), samples.get("labels")
    metrics, resampled = {}, {}
    groups = jackknife_groups(len(samples["pooled"]), seed, of_samples)
    for name, (of_real, of_made) in distances_to(reference).items():
        real, made = reference[of_real], samples[of_made]
        distances = PreparedReference(real).distances(made, all_and_without(groups))
        resampled[name] = distances
        metrics |= {
            name: distances[0],
            f"{name}_float32_mean": frechet_distance(real, made, "float32"),
            f"{name}_corrected": extrapolated_frechet_distance(
                real, made, seed, of_reference, of_samples
            ),
            f"{name}_standard_error": jackknife_error(distances[1:]),
        }
    made = samples["pooled"]
    metrics["kid"], metrics["kid_std"] = kernel_inception_distance(
        reference["pooled"], made, kid_subsets, kid_subset_size, seed
    )
    resampled["kid"] = discrepancies(made, reference["pooled"], groups)
    for prefix in ("", "reconstructed_"):
        if f"{prefix}pooled" in reference:
            manifold = manifold_metrics(reference[f"{prefix}pooled"], made, neighbours)
            metrics |= {f"{prefix}{name}": value for name, value in manifold._asdict().items()}
    if "probabilities" in samples:
        metrics |= _scores(samples, score_split_size, seed)
    if "recognized" in samples:
        resampled["class_accuracy"] = resampled_mean(samples["recognized"], groups)
        metrics["class_accuracy"] = resampled["class_accuracy"][0]
    if "reconstructed_train_pooled" in reference:
        kinds = ("reconstructed_train_pooled", "reconstructed_held_out_pooled")
        train, held_out = (reference[kind] for kind in kinds)
        metrics |= memorization(train, made, held_out)._asdict()
    return metrics, resampled


def quality_by_statistics(
    statistics: dict[str, tuple[np.ndarray, np.ndarray]],
    samples: dict[str, np.ndarray],
    score_split_size: int,
    seed: int,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """As `quality`, of what the means and covariances of a reference's features tell.

    statistics: kind of feature -> mean (D,) and covariance (D, D). samples: the features
    `pooled` (N, D) and `spatial` (N, S), `probabilities` (N, classes) and `labels` (N,).
    """
    groups = jackknife_groups(len(samples["pooled"]), seed, samples["labels"])
    metrics, resampled = {}, {}
    for name, (kind, _) in DISTANCES.items():
        if kind in statistics:
            reference = PreparedReference.of_statistics(*statistics[kind])
            distances = reference.distances(samples[kind], all_and_without(groups))
            resampled[name], metrics[name] = distances, distances[0]
            metrics[f"{name}_standard_error"] = jackknife_error(distances[1:])
    return metrics | _scores(samples, score_split_size, seed), resampled


def _scores(samples: dict[str, np.ndarray], split_size: int, seed: int) -> dict[str, float]:
    """Of the probabilities of samples, perhaps with labels."""
    score = inception_score(samples["probabilities"], split_size, seed, samples.get("labels"))
    return {
        "classifier_score": score.mean,
        "classifier_score_std": score.std,
        "classifier_score_corrected": score.corrected,
    }


def study_quality(
    reference: dict[str, np.ndarray],
    features: dict[str, np.ndarray],
    labels: np.ndarray,
    extractor,
    probe,
    evaluation: dict,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """All that `quality` tells of images by their `extractor.features` and labels (N,), which
    `probe` was trained on other images of. evaluation: of a study."""
    samples = {
        **features,
        "labels": labels,
        "probabilities": extractor.class_probabilities(features["pooled"]),
        "recognized": recognized(probe, features["pooled"], labels),
    }
    return quality(reference, samples, **{key: evaluation[key] for key in MEASURES})


def distances_to(reference: dict[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    """Those of DISTANCES that the reference has the features for."""
    return {name: kinds for name, kinds in DISTANCES.items() if kinds[0] in reference}


def distances_of(sets, reference) -> dict[str, list[float]]:
    """The distances of the features of each set."""
    prepared = {
        name: (PreparedReference(reference[of_real]), of_made)
        for name, (of_real, of_made) in distances_to(reference).items()
    }
    distances = {name: [] for name in prepared}
    for features in sets:
        for name, (real, of_made) in prepared.items():
            distances[name].append(real.distance(features[of_made]))
    return distances
