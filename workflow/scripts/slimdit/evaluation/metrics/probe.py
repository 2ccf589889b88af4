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


def class_accuracy(probe, features: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the probe gives their label; raises InputError for a label it lacks."""
    features = checked_features(features, "features")
    labels = checked_labels(labels, len(features))
    unknown = np.setdiff1d(labels, probe.classes_)
    if len(unknown):
        raise InputError(
            f"label {unknown[0]} is not among the {len(probe.classes_)} classes of the probe; "
            "samples and reference should have the same classes."
        )
    return float((probe.predict(features) == labels).mean())
