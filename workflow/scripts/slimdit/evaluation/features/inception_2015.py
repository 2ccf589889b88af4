"""Inception as published in 2015, the network that FID and sFID are defined by.

Heusel et al. (2017) compute FID from the frozen graph `classify_image_graph_def.pb`; which tensors
are read, and how, is that of OpenAI's evaluator (guided-diffusion 22e0df8,
evaluations/evaluator.py), whose numbers papers report. The graph resizes the images itself.
"""

from typing import Literal

import numpy as np

from slimdit.evaluation.features.extractor import Extractor
from slimdit.evaluation.features.published_graph import GRAPH_MD5, check_graph
from slimdit.evaluation.metric_names import MetricNames
from slimdit.storage.files import sha256_of

IMAGES, POOLED, SPATIAL = "ExpandDims:0", "pool_3:0", "mixed_6/conv:0"
SPATIAL_CHANNELS = 7
CLASS_LOGITS = "softmax/logits/MatMul"


class Inception2015(Extractor):
    """Pooled features (B, 2048) of pool_3, spatial ones (B, 2023): 7 channels of mixed_6/conv.

    Spatial features are flattened in (H, W, C) order. `backend` computes them: "tensorflow", or
    "torch", which agrees to rounding. A graph with another `md5` than the published one can be
    asked for, as tests do; its distances are then named after that md5, not FID.
    """

    name = "inception-2015"
    metric_names = MetricNames("fid", "sfid", "FID", "sFID", "inception_score", "IS")

    def __init__(
        self,
        graph: str,
        backend: Literal["tensorflow", "torch"] = "tensorflow",
        md5: str = GRAPH_MD5,
    ):
        check_graph(graph, md5)
        self.graph_md5, self.backend = md5, backend
        self.weights_sha256 = sha256_of(graph)
        if md5 != GRAPH_MD5:
            self.metric_names = MetricNames.of_network("graph", f"graph {md5[:8]}")

        from slimdit.evaluation.features.frozen_graph import FrozenGraph

        frozen = FrozenGraph(graph)
        self.class_weights = frozen.constant(frozen.node(CLASS_LOGITS).input[1])  # (2048, 1008)
        if backend == "tensorflow":
            from slimdit.evaluation.features.tensorflow_graph import TensorFlowGraph

            self.network = TensorFlowGraph(graph, IMAGES, (POOLED, SPATIAL))
        else:
            from slimdit.compute.devices import device
            from slimdit.evaluation.features.torch_graph import TorchGraph

            self.network = TorchGraph(frozen, IMAGES, (POOLED, SPATIAL), device())

    @staticmethod
    def feature_dims(image_size: int, **options) -> tuple[int, int]:
        """Of the published graph, which resizes images itself."""
        return 2048, 2023

    @property
    def options(self) -> dict:
        return {"graph_md5": self.graph_md5, "backend": self.backend, **self.network.options}

    def batch_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pooled, spatial = self.network(images.astype(np.float32))  # (B, 1, 1, D), (B, H, W, C)
        spatial = spatial[..., :SPATIAL_CHANNELS]
        return pooled.reshape(len(images), -1), spatial.reshape(len(images), -1)

    def class_logits(self, pooled: np.ndarray) -> np.ndarray:
        """Logits (B, 1008) float64, without the classifier's bias as in the evaluator."""
        return np.asarray(pooled, dtype=np.float64) @ self.class_weights.astype(np.float64)
