"""What the compilation of a pass gave: what can be said of it, and what is wrong with it."""

from collections import Counter
from collections.abc import Iterator

from codegen import checks
from codegen.program import Program

KIB = 1024
SHARED_MEMORY_BYTES = {  # of a block, at most, by sm
    80: 163 * KIB,
    86: 99 * KIB,
    89: 99 * KIB,
    90: 227 * KIB,
    100: 227 * KIB,
    120: 99 * KIB,
}
ELF = b"\x7fELF"


class Compiled:
    """graphs: Inductor's; kernels: Triton's, each with its configurations; graph_counts: of each
    torch.compile; breaks: why a graph ended before its function did; is_graphed: whether the
    kernels should be a CUDA graph."""

    def __init__(self, sm: int):
        self.sm = sm
        self.graphs, self.kernels = [], []
        self.graph_counts: Counter[object] = Counter()
        self.breaks: list[str] = []
        self.is_graphed = False

    @property
    def programs(self) -> list[Program]:
        return [Program(graph.source_code) for graph in self.graphs]

    @property
    def cubins(self) -> list:
        """Of each kernel each configuration that would be tried."""
        return [found.kernel for kernel in self.kernels for found in kernel.compile_results]

    def facts(self) -> dict:
        programs, cubins = self.programs, self.cubins
        atomics = Counter(dtype for each in programs for dtype, _ in checks.atomics(each))
        operators = sum((Counter(checks.operators(each)) for each in programs), Counter())
        return {
            "compilations": len(self.graph_counts),
            "programs": len(programs),
            "kernels": len(self.kernels),
            "cubins": len(cubins),
            "cubin_bytes": sum(len(each.asm["cubin"]) for each in cubins),
            "cuda_graphs": sum(len(each.partitions) for each in programs) * self.is_graphed,
            "operators": dict(operators),
            "atomic_sums": dict(atomics),
        }

    def faults(self) -> Iterator[str]:
        for reason in self.breaks:
            yield f"breaks the graph: {reason}"
        for count in self.graph_counts.values():
            if count > 1:
                yield f"is {count} graphs"
        if not self.graphs:
            yield "is not compiled"
        for graph in self.graphs if self.is_graphed else ():
            if reason := graph.disabled_cudagraphs_reason:
                yield f"cannot be a CUDA graph: {reason}"
        for program in self.programs:
            yield from checks.faults(program, self.is_graphed)
        for cubin in self.cubins:
            about = cubin.metadata
            if not cubin.asm["cubin"].startswith(ELF) or about.target.arch != self.sm:
                yield f"has a kernel that is not one of sm_{self.sm}: {about.name}"
            if about.shared > SHARED_MEMORY_BYTES[self.sm]:
                yield f"has a kernel of {about.shared} bytes of shared memory: {about.name}"
