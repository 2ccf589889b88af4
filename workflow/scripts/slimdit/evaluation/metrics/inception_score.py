"""Inception Score."""

from typing import NamedTuple

import numpy as np

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.checks import checked_features
from slimdit.evaluation.metrics.groups import balanced_groups

ROUNDING = 1e-3  # of a distribution's sum


class InceptionScore(NamedTuple):
    mean: float
    std: float
    corrected: float


def inception_score(
    probabilities: np.ndarray, split_size: int = 5000, seed: int = 0, labels=None
) -> InceptionScore:
    """Inception Score (Salimans et al., 2016) of class probabilities (N, classes).

    mean, std: over splits of `split_size` images in their order, the last with what is left, of
    exp(mean KL(p(y|x) || p(y))), as in OpenAI's evaluator. There a probability of 0 makes the score
    NaN; here 0 log 0 is 0. Splits are only alike if images are not ordered by class.

    corrected: estimate for infinitely many images. The mean KL of N images is low by c / N, as
    their p(y) follows them; so exp(2 KL_N - KL_N/2) of all N images, without splits, KL_N/2 the
    mean over two random disjoint halves, with labels (N,) of equally many images of each class, as
    they should be where all images are. c is at most about half the number of classes: with fewer
    images than classes the correction falls short.
    """
    p = checked_features(probabilities, "probabilities")
    if (p < 0).any() or np.abs(p.sum(1) - 1).max() > ROUNDING:
        raise InputError("probabilities has rows that do not sum to 1; each should, without < 0.")
    scores = [
        np.exp(_mean_divergence(p[start : start + split_size]))
        for start in range(0, len(p), split_size)
    ]
    half = balanced_groups(len(p), 2, stream(seed, "inception-score-halves"), labels)
    halves = np.mean([_mean_divergence(p[half == i]) for i in range(2)])
    corrected = np.exp(2 * _mean_divergence(p) - halves)
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), float(corrected))


def _mean_divergence(p: np.ndarray) -> float:
    """Mean KL(p(y|x) || p(y)) of probabilities (N, classes)."""
    marginal = p.mean(0)
    log = np.log(p, out=np.zeros_like(p), where=p > 0)
    log -= np.log(marginal, out=np.zeros_like(marginal), where=marginal > 0)
    return float((p * log).sum(1).mean())
