"""Fidelity and diversity: which images lie in the balls around the other set's images.

The ball of an image reaches to its `neighbours`-th nearest other of its own set, edge included.
Distances are in float64; OpenAI's evaluator has them in float16 (relative errors of 4e-4, and of
several percent for close images), so that its precision and recall differ: in the third decimal for
photographs, in the first where all images lie close together.
"""

from typing import NamedTuple

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import checked_pair
from slimdit.evaluation.metrics.neighbours import distance_blocks, squared_radii


class Manifold(NamedTuple):
    precision: float
    recall: float
    density: float
    coverage: float


def manifold_metrics(reference: np.ndarray, samples: np.ndarray, neighbours: int) -> Manifold:
    """Precision, recall, density and coverage, from one pass over each matrix of distances.

    Precision: fraction of samples (M, D) in any ball of the reference (N, D); recall: fraction of
    the reference in any ball of the samples (Kynkäänniemi et al., 2019). Density: number of the
    reference's balls that a sample is in, over `neighbours`; coverage: fraction of the reference's
    balls with a sample in them (Naeem et al., 2020).
    """
    reference, samples = checked_pair(reference, samples, "reference", "samples")
    fewest = min(len(reference), len(samples))
    if not 1 <= neighbours < fewest:
        raise InputError(
            f"neighbours is {neighbours}; with {fewest} images it should be 1 to {fewest - 1}."
        )
    sample_radii = squared_radii(samples, neighbours)
    radii = squared_radii(reference, neighbours)
    num_balls = np.zeros(len(samples), dtype=np.intp)
    covered = np.zeros(len(reference), dtype=bool)
    recalled = np.zeros(len(reference), dtype=bool)
    for rows, distances in distance_blocks(samples, reference):
        inside = distances <= radii
        num_balls[rows] = inside.sum(1)
        covered |= inside.any(0)
        recalled |= (distances <= sample_radii[rows, None]).any(0)
    return Manifold(
        precision=float((num_balls > 0).mean()),
        recall=float(recalled.mean()),
        density=float(num_balls.mean() / neighbours),
        coverage=float(covered.mean()),
    )
