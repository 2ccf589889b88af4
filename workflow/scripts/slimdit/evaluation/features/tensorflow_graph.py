"""A frozen graph run by TensorFlow, imported when a graph is built."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from slimdit.compute.environment import thread_limit
from slimdit.core.errors import InputError

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"  # its kernels round otherwise than TensorFlow's own


class TensorFlowGraph:
    """Images in at the tensor `feed`, one array out for each tensor of `fetches`."""

    def __init__(self, path: str | Path, feed: str, fetches: tuple[str, ...]):
        tf = _tensorflow()
        self.options = {"onednn": os.environ[ONEDNN] != "0"}
        graph_def = tf.GraphDef.FromString(Path(path).read_bytes())
        graph = tf.Graph()
        with graph.as_default():
            self.images = tf.placeholder(tf.float32, [None, None, None, 3])
            self.fetches = tf.import_graph_def(
                graph_def, input_map={feed: self.images}, return_elements=fetches, name=""
            )
        config = tf.ConfigProto(
            allow_soft_placement=True,  # DecodeJpeg, which is not used, has no kernel on a GPU
            intra_op_parallelism_threads=thread_limit() or 0,
            inter_op_parallelism_threads=1,
        )
        config.gpu_options.allow_growth = True
        self.session = tf.Session(graph=graph, config=config)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """float32 images (B, H, W, 3) in 0..255 to the fetched arrays, all channels last."""
        return self.session.run(self.fetches, {self.images: images})


def check_installed() -> None:
    """Raises InputError where TensorFlow is not."""
    if find_spec("tensorflow") is None:
        raise InputError(
            "backend 'tensorflow' of inception-2015 lacks the module 'tensorflow'; "
            "run pip install -r requirements-inception.txt, which has none for Python 3.14, or set "
            "backend to torch."
        )


def _tensorflow():
    check_installed()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault(ONEDNN, "1")
    import tensorflow.compat.v1 as tf

    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return tf
