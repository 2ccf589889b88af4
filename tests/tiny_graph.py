"""A small frozen graph with the tensors that OpenAI's evaluator reads, and images for it.

Old operations (BatchNormWithGlobalNormalization, Concat) are legal in a GraphDef of a producer
before version 9, as the published graph is.
"""

import hashlib
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_INT32, DT_UINT8

from slimdit.core.randomness import stream

RESIZED = 75
NUM_POOLED = 64
NUM_SPATIAL = 5 * 5 * 7
NUM_CLASSES = 1008
EPSILON = 1e-3


class Writer:
    """Adds nodes to a GraphDef; every method returns the name of what it added."""

    def __init__(self, seed: int):
        self.graph = GraphDef()
        self.graph.versions.producer = 8
        self.seed = seed

    def node(self, name, op, inputs=(), dtype=DT_FLOAT, **attributes):
        node = self.graph.node.add(name=name, op=op, input=inputs)
        node.attr["T"].type = dtype
        for key, value in attributes.items():
            attribute = node.attr[key]
            if isinstance(value, bool):
                attribute.b = value
            elif isinstance(value, int):
                attribute.type = value
            elif isinstance(value, float):
                attribute.f = value
            elif isinstance(value, bytes):
                attribute.s = value
            else:
                attribute.list.i.extend(value)
        return name

    def constant(self, name, value):
        value = np.asarray(value)
        dtype = DT_INT32 if value.dtype.kind == "i" else DT_FLOAT
        value = value.astype(np.int32 if dtype == DT_INT32 else np.float32)
        node = self.graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = dtype
        tensor = node.attr["value"].tensor
        tensor.dtype = dtype
        for size in value.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = value.tobytes()
        return name

    def random(self, name, shape, scale=1.0, offset=0.0):
        values = stream(self.seed, name).standard_normal(shape)
        return self.constant(name, offset + scale * values)

    def convolution(self, name, x, in_channels, channels, size, stride=1, padding=b"SAME"):
        """Convolution, batch normalization and ReLU; the ReLU has the name."""
        shape = (size, size, in_channels, channels)
        kernel = stream(self.seed, name).standard_normal(shape)
        # Inputs are positive; kernels that sum to zero keep every channel's ReLU busy.
        kernel = (kernel - kernel.mean((0, 1, 2))) * (2 / kernel[..., 0].size) ** 0.5
        kernel = self.constant(f"{name}/conv2d_params", kernel)
        x = self.node(
            f"{name}/Conv2D",
            "Conv2D",
            [x, kernel],
            strides=[1, stride, stride, 1],
            padding=padding,
            use_cudnn_on_gpu=True,
        )
        parts = {"moving_mean": (0.1, 0.0), "moving_variance": (0.1, 1.0), "beta": (0.2, 0.8)}
        norm = [
            self.random(f"{name}/batchnorm/{part}", (channels,), scale, offset)
            for part, (scale, offset) in {**parts, "gamma": (0.2, 1.0)}.items()
        ]
        x = self.node(
            f"{name}/batchnorm",
            "BatchNormWithGlobalNormalization",
            [x, *norm],
            variance_epsilon=EPSILON,
            scale_after_normalization=channels % 3 == 0,
        )
        check = self.node(f"{name}/CheckNumerics", "CheckNumerics", [x], message=b"conv")
        x = self.node(f"{name}/control_dependency", "Identity", [x, f"^{check}"])
        return self.node(name, "Relu", [x])

    def pool(self, name, op, x, size, stride, padding):
        window = {"ksize": [1, size, size, 1], "strides": [1, stride, stride, 1]}
        return self.node(name, op, [x], padding=padding, **window)

    def concat(self, name, parts):
        axis = self.constant(f"{name}/concat_dim", 3)
        node = self.graph.node.add(name=name, op="Concat", input=[axis, *parts])
        node.attr["T"].type = DT_FLOAT
        node.attr["N"].i = len(parts)
        return name


def write_tiny_graph(path: str | Path, seed: int = 0) -> str:
    """Write the graph and return its md5. Nodes after pool_3 try what the published one lacks."""
    g = Writer(seed)
    g.node("image", "Placeholder", dtype=DT_UINT8)
    g.graph.node[0].attr["dtype"].type = DT_UINT8
    del g.graph.node[0].attr["T"]
    x = g.graph.node.add(name="Cast", op="Cast", input=["image"])
    x.attr["SrcT"].type, x.attr["DstT"].type = DT_UINT8, DT_FLOAT
    x = g.node("ExpandDims", "ExpandDims", ["Cast", g.constant("ExpandDims/dim", 0)])
    size = g.constant("ResizeBilinear/size", [RESIZED, RESIZED])
    x = g.node("ResizeBilinear", "ResizeBilinear", [x, size], align_corners=False)
    x = g.node("Sub", "Sub", [x, g.constant("Sub/y", 128.0)])
    x = g.node("Mul", "Mul", [x, g.constant("Mul/y", 1 / 128)])

    x = g.convolution("conv", x, 3, 12, size=3, stride=2, padding=b"VALID")  # 37 x 37
    x = g.convolution("conv_1", x, 12, 16, size=3, stride=2)  # 19 x 19
    x = g.pool("pool", "MaxPool", x, size=3, stride=2, padding=b"VALID")  # 9 x 9
    x = g.pool("pool_1", "MaxPool", x, size=3, stride=2, padding=b"SAME")  # 5 x 5
    g.convolution("mixed_6/conv", x, 16, 9, size=1)
    g.convolution("mixed_6/tower/conv", x, 16, 14, size=5)
    pooled = g.pool("mixed_6/tower_1/pool", "AvgPool", x, size=3, stride=1, padding=b"SAME")
    g.convolution("mixed_6/tower_1/conv", pooled, 16, 9, size=1)
    x = g.concat("mixed_6/join", ["mixed_6/conv", "mixed_6/tower/conv", "mixed_6/tower_1/conv"])
    x = g.convolution("mixed_7/conv", x, 32, NUM_POOLED, size=3)
    x = g.pool("pool_3", "AvgPool", x, size=5, stride=1, padding=b"VALID")

    x = g.node("pool_3/_reshape", "Reshape", [x, g.constant("pool_3/shape", [-1, NUM_POOLED])])
    weights = stream(seed, "softmax").standard_normal((NUM_POOLED, NUM_CLASSES))
    weights = g.constant("softmax/weights", 2 * (weights - weights.mean(0)))
    x = g.node("softmax/logits/MatMul", "MatMul", [x, weights])
    x = g.node("softmax/logits", "BiasAdd", [x, g.random("softmax/biases", (NUM_CLASSES,))])
    g.node("softmax", "Softmax", [x])

    node = g.graph.node.add(name="squeezed", op="Squeeze", input=["pool_3"])
    node.attr["T"].type = DT_FLOAT
    node.attr["squeeze_dims"].list.i.extend([1, 2])
    g.node("sum", "Add", ["squeezed", "squeezed"])
    inputs = ["squeezed", "sum", g.constant("joined/axis", 1)]
    node = g.graph.node.add(name="joined", op="ConcatV2", input=inputs)
    node.attr["T"].type, node.attr["N"].i = DT_FLOAT, 2

    data = g.graph.SerializeToString(deterministic=True)
    Path(path).write_bytes(data)
    return hashlib.md5(data).hexdigest()


def coarse_images(what: str, num_images: int, low: int, high: int) -> np.ndarray:
    """uint8 images (N, 64, 64, 3): 8 x 8 squares of values from low to high - 1, and noise."""
    random = stream(0, what)
    squares = random.integers(low, high, (num_images, 8, 8, 3), dtype=np.uint8)
    noise = random.integers(0, 56, (num_images, 64, 64, 3), dtype=np.uint8)
    return squares.repeat(8, axis=1).repeat(8, axis=2) + noise


def evaluated_images() -> tuple[np.ndarray, np.ndarray]:
    """Reference and samples whose distances tests/golden/openai_evaluator.json holds."""
    return coarse_images("reference", 600, 0, 200), coarse_images("samples", 600, 20, 150)
