"""What a program for a GPU must not do: each check gives a sentence for every line that does it."""

import ast
import re
from collections.abc import Iterator

from codegen.program import Program, TensorLayout

ALIGNMENT_BYTES = 16  # of a row, for the fast kernels of cuBLAS
ITEM_BYTES = {"float32": 4, "int32": 4, "int64": 8, "float64": 8, "int8": 1, "float8_e4m3fn": 1}
HALF_BYTES = 2  # of the others; where the type is not said, it is that of an operator's result
HALVES = {"bfloat16", "float16", "*bf16", "*fp16"}
ACCUMULATING = (
    *("index_add", "index_put", "index_reduce", "scatter_add", "scatter_reduce"),
    "embedding_dense_backward",
)
SIGNATURE = re.compile(r"'signature': (\{.*?\})")
ATOMIC = re.compile(r"^\s*tl\.atomic_add\((\w+).*$", re.M)
COMPUTING = re.compile(r"(extern_kernels|aten|torch\.ops)\..+|.+\.run")


def faults(program: Program, is_graphed: bool) -> list[str]:
    """is_graphed: whether its kernels should be a graph."""
    checks = [rounded_sums, packed_int8, unaligned_matmuls, host_tensors]
    checks += [outside_graphs] * is_graphed
    return [fault for check in checks for fault in check(program)]


def rounded_sums(program: Program) -> Iterator[str]:
    """Sums whose terms are added one by one to a number of 16 bits."""
    for dtype, line in atomics(program):
        if dtype in HALVES:
            yield f"adds up in {dtype} by atomics: {line}"
    for call in program.calls:
        adds = operator(call.name) in ACCUMULATING
        if operator(call.name) == "index_put":
            adds = call.text.endswith("True)")
        if adds and call.tensors and call.tensors[0].dtype in HALVES:
            yield f"adds up in {call.tensors[0].dtype}: {call.text}"


def packed_int8(program: Program) -> Iterator[str]:
    """CUDA's kernel for int8 weights: a thread an output, and no tensor cores."""
    for call in program.calls:
        if operator(call.name) == "_weight_int8pack_mm":
            yield f"multiplies int8 weights without tensor cores: {call.text}"


def unaligned_matmuls(program: Program) -> Iterator[str]:
    """Matrix multiplications of matrices whose rows do not begin at multiples of 16 bytes."""
    for call in program.calls:
        if is_matmul(call.name) and not all(map(is_aligned, call.tensors)):
            yield f"multiplies rows that are not aligned to {ALIGNMENT_BYTES} bytes: {call.text}"


def host_tensors(program: Program) -> Iterator[str]:
    """Tensors in the CPU's memory, for which a step would wait."""
    for call in program.calls:
        if call.name.startswith("empty_strided_cpu"):
            yield f"computes on the CPU: {call.text}"


def outside_graphs(program: Program) -> Iterator[str]:
    """What a program computes outside the partitions that CUDA graphs are made of."""
    if not program.partitions:
        yield "has no part that could be a CUDA graph"
        return
    for call in program.calls:
        if call.inside not in program.partitions and COMPUTING.fullmatch(call.name):
            yield f"computes outside of CUDA graphs: {call.text}"


def atomics(program: Program) -> Iterator[tuple[str, str]]:
    """Each atomic sum of its kernels: the type of the pointer, and the line."""
    for source in program.kernels.values():
        types = ast.literal_eval(SIGNATURE.search(source)[1])
        for line in ATOMIC.finditer(source):
            yield types[line[1]], line[0].strip()


def operators(program: Program) -> list[str]:
    """The operators that are called: what is no kernel of the program's own."""
    names = (call.name for call in program.calls if COMPUTING.fullmatch(call.name))
    return [operator(name) for name in names if not name.endswith(".run")]


def operator(name: str) -> str:
    """index_add of torch.ops.aten.index_add.default, index_put of aten.index_put_."""
    plain = re.sub(r"^torch\.ops\.\w+\.(\w+)(\.\w+)?$", r"\1", name).rpartition(".")[2]
    return plain.rstrip("_")


def is_matmul(name: str) -> bool:
    return operator(name).endswith("mm")


def is_aligned(tensor: TensorLayout) -> bool:
    item_bytes = ITEM_BYTES.get(tensor.dtype or "", HALF_BYTES)
    strides = [
        stride
        for size, stride in zip(tensor.sizes, tensor.strides, strict=True)
        if size != 1 and stride != 1
    ]
    return not any(
        (count or 0) * item_bytes % ALIGNMENT_BYTES for count in (*strides, tensor.offset)
    )
