"""Mean and covariance of features that come batch by batch."""

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.metrics.checks import check_finite


class Moments:
    """Number, mean (D,) and covariance (D, D) of all features added so far, in float64.

    Parts are merged about their own means (Chan et al., 1979), without the cancellation of raw
    moments: exact to rounding whatever the offset of the features.
    """

    def __init__(self, num_features: int):
        self.count = 0
        self.mean = np.zeros(num_features)
        self._scatter = np.zeros((num_features, num_features))  # sum of outer products

    def add(self, batch: np.ndarray) -> None:
        """Add features (n, D), n >= 0; raises InputError for another shape or number."""
        batch = np.asarray(batch, dtype=np.float64)
        if batch.ndim != 2 or batch.shape[1] != len(self.mean):
            raise InputError(
                f"batch has shape {batch.shape}; it should be (images, {len(self.mean)})."
            )
        check_finite(batch, "batch")
        if len(batch):
            mean = batch.mean(0)
            centred = batch - mean
            self._merge(len(batch), mean, centred.T @ centred)

    def merge(self, other: "Moments") -> None:
        """Add what `other` has; raises InputError for another number of features."""
        if len(other.mean) != len(self.mean):
            raise InputError(
                f"moments of {len(other.mean)} features are merged into moments of "
                f"{len(self.mean)}; both should come from the same extractor."
            )
        if other.count:
            self._merge(other.count, other.mean, other._scatter)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (D, D) over count - 1; raises InputError for fewer than 2 images."""
        if self.count < 2:
            raise InputError(f"a covariance of {self.count} images was asked for; it needs 2.")
        return self._scatter / (self.count - 1)

    def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        difference = mean - self.mean
        between = np.outer(difference, difference) * (self.count * count / total)
        self._scatter = self._scatter + scatter + between
        self.mean = self.mean + difference * (count / total)
        self.count = total
