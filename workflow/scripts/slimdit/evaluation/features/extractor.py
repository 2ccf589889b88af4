"""What every feature extractor is: images in, pooled and spatial features out."""

import contextlib
import hashlib
import tempfile
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.special import softmax

from slimdit.core.canonical import fingerprint
from slimdit.core.code_digest import definition_digests
from slimdit.data.resumable_array import ResumableArray
from slimdit.evaluation.metric_names import MetricNames
from slimdit.jobs.provenance import TENSORFLOW, arithmetic


class Extractor(ABC):
    """A frozen classifier with two layers to read: pooled features and a flattened spatial map.

    A subclass sets the attributes below and computes one batch at a time. `metric_names` are of the
    Fréchet distances of its two kinds of features, and of the score of its classes; "FID", "sFID"
    and "IS" belong to the Inception-2015 graph alone.
    """

    name: str
    weights_sha256: str
    metric_names: MetricNames

    @staticmethod
    @abstractmethod
    def feature_dims(image_size: int, **options) -> tuple[int, int]:
        """Pooled and spatial features of an image of that side, by the constructor's options."""

    @property
    @abstractmethod
    def options(self) -> dict:
        """Everything besides the weights that changes the features, as JSON values."""

    @abstractmethod
    def batch_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images (B, H, W, 3) to float32 pooled (B, D) and spatial (B, S) features."""

    @abstractmethod
    def class_logits(self, pooled: np.ndarray) -> np.ndarray:
        """Logits (B, classes) of the classifier on pooled features (B, D)."""

    def class_probabilities(self, pooled: np.ndarray) -> np.ndarray:
        """Softmax of the logits, (B, classes) float64: what the Inception Score is made of."""
        return softmax(np.asarray(self.class_logits(pooled), dtype=np.float64), axis=1)

    def describe(self) -> dict:
        """Identity of the features: two sets can be compared if their descriptions are equal."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "options": self.options,
            **asdict(self.metric_names),
        }

    def features(
        self,
        images: np.ndarray,
        batch_size: int,
        description: str = "features",
        cache_dir: str | Path | None = None,
    ) -> dict[str, np.ndarray]:
        """Features of uint8 images (N, H, W, 3): {"pooled": (N, D), "spatial": (N, S)} float32.

        Image i has the same features in any batch, to rounding. cache_dir: a folder that batches
        are written to as they come, so that a killed process goes on there and what is done is not
        computed again, as long as images, extractor, code, library versions and device are the
        same.
        """

        def batch(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
            return self.batch_features(np.array(images[start:stop], order="C"))

        num_pooled, num_spatial = (values.shape[1] for values in batch(0, 1))
        with contextlib.ExitStack() as stack:
            folder = cache_dir or stack.enter_context(tempfile.TemporaryDirectory())
            shape = (len(images), num_pooled + num_spatial)
            array = ResumableArray(folder, self._key(images), shape, np.float32)
            array.fill(
                lambda start, stop: np.concatenate(batch(start, stop), axis=1),
                batch_size,
                description,
                "images",
            )
            values = array.values
            return {
                "pooled": np.array(values[:, :num_pooled]),
                "spatial": np.array(values[:, num_pooled:]),
            }

    def _key(self, images: np.ndarray) -> str:
        """Names all that the features of `images` are a function of."""
        return fingerprint(
            [
                hashlib.sha256(np.ascontiguousarray(images)).hexdigest(),
                list(images.shape),
                self.describe(),
                definition_digests(type(self).__module__, type(self).__name__, {}),
                arithmetic(*TENSORFLOW),
            ]
        )
