"""What every feature extractor is: images in, pooled and spatial features out."""

from abc import ABC, abstractmethod

import numpy as np

from slimdit.errors import InputError
from slimdit.progress import Progress


class Extractor(ABC):
    """A frozen classifier with two layers to read: pooled features and a flattened spatial map.

    A subclass sets the attributes below and computes one batch at a time. The columns and labels
    name the Fréchet distances of its two kinds of features, and the score of its classes; "FID",
    "sFID" and "IS" belong to the Inception-2015 graph alone.
    """

    name: str
    weights_sha256: str
    fd_column: str
    sfd_column: str
    fd_label: str
    sfd_label: str
    score_column: str
    score_label: str

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
        logits = np.asarray(self.class_logits(pooled), dtype=np.float64)
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def describe(self) -> dict:
        """Identity of the features: two sets can be compared if their descriptions are equal."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "options": self.options,
            "fd_column": self.fd_column,
            "sfd_column": self.sfd_column,
            "fd_label": self.fd_label,
            "sfd_label": self.sfd_label,
            "score_column": self.score_column,
            "score_label": self.score_label,
        }

    def features(
        self, images: np.ndarray, batch_size: int, description: str = "features"
    ) -> dict[str, np.ndarray]:
        """Features of uint8 images (N, H, W, 3): {"pooled": (N, D), "spatial": (N, S)} float32.

        Image i has the same features in any batch, to rounding. Raises InputError for images of
        another shape or type, and for none.
        """
        images = np.asanyarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(
                f"images are {images.dtype} of shape {images.shape}; "
                "they should be uint8 of shape (number, height, width, 3)."
            )
        if len(images) == 0:
            raise InputError("there are no images to extract features from; give at least one.")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it should be at least 1.")
        pooled, spatial = [], []
        with Progress(len(images), description, unit="images") as progress:
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                pooled_batch, spatial_batch = self.batch_features(batch)
                pooled.append(pooled_batch)
                spatial.append(spatial_batch)
                progress.update(len(batch))
        return {"pooled": np.concatenate(pooled), "spatial": np.concatenate(spatial)}
