"""Every measure of one set of samples against a reference, from the features of both."""

import numpy as np

from slimdit.evaluation.metrics.frechet import PreparedReference, frechet_distance
from slimdit.evaluation.metrics.inception_score import inception_score
from slimdit.evaluation.metrics.kid import discrepancies, kernel_inception_distance
from slimdit.evaluation.metrics.memorization import memorization
from slimdit.evaluation.metrics.precision_recall import manifold_metrics
from slimdit.evaluation.metrics.uncertainty import (
    all_and_without,
    extrapolated_frechet_distance,
    jackknife_error,
    jackknife_groups,
    resampled_mean,
)

DISTANCES = {"fd": "pooled", "sfd": "spatial"}  # Fréchet distances by the features they are of
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
    """The metrics by name; those whose arrays are not given are left out. Of `fd`, `sfd`, `kid` and
    `class_accuracy` also the values of all samples at once, then without each group that
    `jackknife_groups` gives.

    Both sets: `pooled` (N, D), `spatial` (N, S), and perhaps `labels` (N,), which stratify the
    halves and groups of the uncertainty. samples: perhaps `probabilities` (N, classes), and whether
    each is `recognized` (N,) as what it was asked to be.
    reference: perhaps `train_pooled` and `held_out_pooled`, between which copies are told from
    new images. `fd` is of pooled features, `sfd` of spatial ones; each also
    `_float32_mean` as OpenAI's evaluator rounds it, `_corrected` for the number of images, and
    `_standard_error` over other samples.
    """
    of_reference, of_samples = reference.get("labels"), samples.get("labels")
    metrics, resampled = {}, {}
    groups = jackknife_groups(len(samples["pooled"]), seed, of_samples)
    for name, kind in DISTANCES.items():
        real, made = reference[kind], samples[kind]
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
    real, made = reference["pooled"], samples["pooled"]
    metrics["kid"], metrics["kid_std"] = kernel_inception_distance(
        real, made, kid_subsets, kid_subset_size, seed
    )
    resampled["kid"] = discrepancies(made, real, groups)
    metrics |= manifold_metrics(real, made, neighbours)._asdict()
    if "probabilities" in samples:
        score = inception_score(samples["probabilities"], score_split_size, seed, of_samples)
        metrics |= {
            "classifier_score": score.mean,
            "classifier_score_std": score.std,
            "classifier_score_corrected": score.corrected,
        }
    if "recognized" in samples:
        resampled["class_accuracy"] = resampled_mean(samples["recognized"], groups)
        metrics["class_accuracy"] = resampled["class_accuracy"][0]
    if "train_pooled" in reference:
        copies = memorization(reference["train_pooled"], made, reference["held_out_pooled"])
        metrics |= copies._asdict()
    return metrics, resampled


def distances_of(sets, reference) -> dict[str, list[float]]:
    """FD and sFD of the features of each set."""
    prepared = {name: PreparedReference(reference[kind]) for name, kind in DISTANCES.items()}
    distances = {name: [] for name in DISTANCES}
    for features in sets:
        for name, kind in DISTANCES.items():
            distances[name].append(prepared[name].distance(features[kind]))
    return distances
