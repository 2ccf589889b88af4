"""What a linear probe sees in features."""

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import checked_features, checked_labels


def linear_probe(features: np.ndarray, labels: np.ndarray):
    """Multinomial logistic regression on features (N, D): a fitted classifier."""
    from sklearn.linear_model import LogisticRegression

    features = checked_features(features, "features")
    labels = checked_labels(labels, len(features))
    if len(np.unique(labels)) < 2:
        raise InputError("a linear probe has labels of one class only; it needs at least two.")
    return LogisticRegression(max_iter=1000).fit(features, labels)


def recognized(probe, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the probe gives each image its label, bool (N,); raises InputError for a label that
    it lacks."""
    features = checked_features(features, "features")
    labels = checked_labels(labels, len(features))
    unknown = np.setdiff1d(labels, probe.classes_)
    if len(unknown):
        raise InputError(
            f"label {unknown[0]} is not among the {len(probe.classes_)} classes of the probe; "
            "samples and reference should have the same classes."
        )
    return probe.predict(features) == labels
