"""A program that Inductor wrote for a GPU, read from its text: its kernels, and what it calls on
which tensors."""

import ast
from typing import NamedTuple

ALLOCATIONS = ("empty_strided_cuda", "rand_strided")


class TensorLayout(NamedTuple):
    """Of a tensor; None for what the text does not say, such as a size that is a symbol."""

    sizes: list[int | None]
    strides: list[int | None]
    offset: int | None
    dtype: str | None  # "bfloat16"


class Call(NamedTuple):
    """In the function `inside`, with the tensors among its arguments, those in lists left out."""

    name: str
    tensors: list[TensorLayout]
    text: str
    inside: str


class Program:
    """kernels: Triton's sources by their names; partitions: the functions that CUDA graphs are made
    of."""

    def __init__(self, text: str):
        reader = _Reader()
        body = ast.parse(text).body
        # What `get_args` makes for a benchmark are the program's inputs.
        for node in sorted(body, key=lambda node: getattr(node, "name", None) != "get_args"):
            reader.visit(node)
        self.kernels, self.calls = reader.kernels, reader.calls
        names = (node.name for node in body if isinstance(node, ast.FunctionDef))
        self.partitions = [name for name in names if name.startswith("partition_")]


class _Reader(ast.NodeVisitor):
    def __init__(self):
        self.kernels: dict[str, str] = {}
        self.calls: list[Call] = []
        self.tensors: dict[str, TensorLayout | None] = {}
        self.inside = ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.inside = node.name
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.tensors[target.id] = self.tensor(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name == "async_compile.triton":
            kernel, source = map(ast.literal_eval, node.args[:2])
            self.kernels[kernel] = source
        elif name == "assert_size_stride":
            tensor, sizes, strides, *_ = node.args
            if self.tensor(tensor) is None:
                self.tensors[tensor.id] = TensorLayout(numbers(sizes), numbers(strides), 0, None)
        else:
            arguments = (*node.args, *(keyword.value for keyword in node.keywords))
            tensors = list(filter(None, map(self.tensor, arguments)))
            self.calls.append(Call(name, tensors, ast.unparse(node), self.inside))

    def tensor(self, node: ast.expr) -> TensorLayout | None:
        """What an expression is, if it is a tensor."""
        if isinstance(node, ast.Name):
            return self.tensors.get(node.id)
        if not isinstance(node, ast.Call):
            return None
        name, arguments = ast.unparse(node.func), node.args
        if name in ALLOCATIONS:
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            dtype = ast.unparse(named.get("dtype", arguments[-1])).removeprefix("torch.")
            return TensorLayout(numbers(arguments[0]), numbers(arguments[1]), 0, dtype)
        if name == "reinterpret_tensor":
            base, sizes, strides, offset = arguments
            of_base = self.tensor(base)
            dtype = of_base.dtype if of_base else None
            return TensorLayout(numbers(sizes), numbers(strides), number(offset), dtype)
        return self.tensor(arguments[0]) if name == "copy_if_misaligned" else None


def numbers(node: ast.expr) -> list[int | None]:
    return [number(each) for each in node.elts] if isinstance(node, ast.Tuple) else []


def number(node: ast.expr) -> int | None:
    return node.value if isinstance(node, ast.Constant) else None
