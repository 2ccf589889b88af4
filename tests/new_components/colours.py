"""Mean colours of an image and of its cells: no network at all."""

from typing import Annotated

import numpy as np

from slimdit.core.options import AtLeast
from slimdit.evaluation.features.extractor import Extractor
from slimdit.evaluation.metric_names import MetricNames


class Colours(Extractor):
    """Pooled features (B, 3), spatial ones (B, 3 cells^2)."""

    name = "colours"
    weights_sha256 = "0" * 64
    metric_names = MetricNames.of_network("colours", "colours")

    def __init__(self, cells: Annotated[int, AtLeast(1)] = 2):
        self.cells = cells

    @staticmethod
    def feature_dims(image_size: int, cells: int = 2) -> tuple[int, int]:
        return 3, 3 * cells**2

    @property
    def options(self) -> dict:
        return {"cells": self.cells}

    def batch_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        side = images.shape[1] // self.cells
        inner = images[:, : side * self.cells, : side * self.cells].astype(np.float32)
        shape = (len(images), self.cells, side, self.cells, side, 3)
        spatial = inner.reshape(shape).mean((2, 4)).reshape(len(images), -1)
        return inner.mean((1, 2)), spatial

    def class_logits(self, pooled: np.ndarray) -> np.ndarray:
        return pooled
