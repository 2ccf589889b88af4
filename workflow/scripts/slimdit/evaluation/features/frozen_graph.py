"""A frozen TensorFlow graph (a binary GraphDef), read without TensorFlow.

A tensor is named "node", or "node:0" for its first output; "^node" asks for order alone.
"""

from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.util.tensor_util import make_ndarray

from slimdit.core.errors import InputError


class FrozenGraph:
    """Nodes by name; raises InputError for a file that is no GraphDef."""

    def __init__(self, path: str | Path):
        self.path = path
        try:
            graph = GraphDef.FromString(Path(path).read_bytes())
        except DecodeError:
            raise InputError(f"{path} is no GraphDef; it should be a frozen graph.") from None
        self.nodes = {node.name: node for node in graph.node}

    def node(self, tensor: str):
        """The node that `tensor` is the first output of."""
        name, _, output = tensor.partition(":")
        if name not in self.nodes or output not in ("", "0"):
            raise InputError(f"{self.path} has no tensor {tensor!r}; it is another graph.")
        return self.nodes[name]

    def constant(self, tensor: str) -> np.ndarray:
        """Value of a Const, or of one behind Identity operations."""
        node = self.node(tensor)
        while node.op == "Identity":
            node = self.node(node.input[0])
        if node.op != "Const":
            raise InputError(f"{tensor!r} of {self.path} is a {node.op}; it should be a Const.")
        return make_ndarray(node.attr["value"].tensor)

    def order(self, feed: str, fetches: tuple[str, ...]) -> list:
        """Nodes to compute for `fetches` when `feed` is given, each after its inputs."""
        inputs = {self.node(feed).name: []}
        waiting = [self.node(fetch) for fetch in fetches]
        while waiting:
            node = waiting.pop()
            if node.name not in inputs:
                needed = [self.node(tensor) for tensor in data_inputs(node)]
                inputs[node.name] = [each.name for each in needed]
                waiting += needed
        order = TopologicalSorter(inputs).static_order()
        return [self.nodes[name] for name in order if name != self.node(feed).name]


def data_inputs(node) -> list[str]:
    return [tensor for tensor in node.input if not tensor.startswith("^")]
