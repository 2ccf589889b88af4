"""What `make codegen` asks of a program for GPUs: each fault is found, and in a good one none."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest
from codegen.checks import atomics, faults, operators
from codegen.compiled import ELF, Compiled
from codegen.program import Program

KERNEL = """
@triton_heuristics.pointwise(
    triton_meta={'signature': {'in_ptr0': '*bf16', 'out_ptr0': '*fp32', 'xnumel': 'i32'}},
)
@triton.jit
def kernel(in_ptr0, out_ptr0, xnumel, XBLOCK : tl.constexpr):
    tmp0 = tl.load(in_ptr0 + (x0), xmask)
    tl.atomic_add(out_ptr0 + (x0), tmp0, xmask, sem='relaxed')
"""
GOOD = f"""
kernel = async_compile.triton('kernel', '''{KERNEL}''', device_str='cuda')

def partition_0(args):
    arg0_1, arg1_1, arg2_1, arg3_1 = args
    with torch.cuda._DeviceGuard(0):
        buf0 = empty_strided_cuda((64, 72), (72, 1), torch.bfloat16)
        extern_kernels.mm(arg0_1, reinterpret_tensor(arg1_1, (64, 72), (72, 1), 0), out=buf0)
        buf1 = reinterpret_tensor(buf0, (2, 32, 72), (2304, 72, 1), 0); del buf0  # reuse
        buf2 = empty_strided_cuda((8, 384), (384, 1), torch.float32)
        aten.index_put_(buf2, [arg2_1], buf1, True)
        buf3 = torch.ops.aten.sort.stable(arg2_1, stable=True)
        buf4 = buf3[0]
        assert_size_stride(buf4, (64, ), (1, ), 'torch.ops.aten.sort.stable')
        kernel.run(buf1, buf2, 3072, stream=raw_stream0)
    return (buf2, )

class Runner:
    def call(self, args):
        (buf2, ) = self.partitions[0](args)
        return (buf2, )

def get_args():
    arg0_1 = rand_strided((64, 64), (64, 1), device='cuda:0', dtype=torch.bfloat16)
    arg1_1 = rand_strided((64, 72), (72, 1), device='cuda:0', dtype=torch.bfloat16)
    arg2_1 = rand_strided((64, ), (1, ), device='cuda:0', dtype=torch.int64)
    arg3_1 = rand_strided((64, 64), (64, 1), device='cuda:0', dtype=torch.int8)
    return [arg0_1, arg1_1, arg2_1, arg3_1]
"""
BUFFER = "buf2 = empty_strided_cuda((8, 384), (384, 1), torch."
PLANTED = {
    "an atomic sum in bfloat16": (
        ("'out_ptr0': '*fp32'", "'out_ptr0': '*bf16'"),
        r"adds up in \*bf16 by atomics: tl.atomic_add\(out_ptr0 \+ \(x0\), tmp0",
    ),
    "index_put into bfloat16": (
        (f"{BUFFER}float32", f"{BUFFER}bfloat16"),
        r"adds up in bfloat16: aten.index_put_\(buf2, \[arg2_1\], buf1, True\)",
    ),
    "index_add into bfloat16": (
        ("torch.ops.aten.sort.stable(", "torch.ops.aten.index_add.default(arg0_1, 0, "),
        r"adds up in bfloat16: torch.ops.aten.index_add.default\(arg0_1, 0, arg2_1",
    ),
    "packed int8 weights": (
        ("extern_kernels.mm(arg0_1", "extern_kernels._weight_int8pack_mm(arg0_1"),
        r"without tensor cores: extern_kernels._weight_int8pack_mm\(arg0_1",
    ),
    "an input with rows of 65": (
        ("arg0_1 = rand_strided((64, 64), (64,", "arg0_1 = rand_strided((64, 64), (65,"),
        r"aligned to 16 bytes: extern_kernels.mm\(arg0_1",
    ),
    "a result with rows of 65": (
        (
            "buf0 = empty_strided_cuda((64, 72), (72, 1)",
            "buf0 = empty_strided_cuda((64, 65), (65, 1)",
        ),
        r"aligned to 16 bytes: extern_kernels.mm\(arg0_1",
    ),
    "a view that begins at an odd number": (
        ("(64, 72), (72, 1), 0)", "(64, 72), (72, 1), 1)"),
        r"aligned to 16 bytes: extern_kernels.mm\(arg0_1",
    ),
    "rows of 72 int8 numbers": (
        (
            "kernel.run(",
            "extern_kernels._int_mm(arg3_1, reinterpret_tensor(arg3_1, (8, 72), (72, 1), 0))\n"
            "        kernel.run(",
        ),
        r"aligned to 16 bytes: extern_kernels._int_mm\(arg3_1",
    ),
    "a tensor on the CPU": (
        ("buf3 = torch", "buf5 = empty_strided_cpu((), (), torch.int64)\n        buf3 = torch"),
        r"computes on the CPU: empty_strided_cpu\(",
    ),
    "a kernel outside of the graph": (
        ("(buf2, ) = self", "kernel.run(args[0], args[1], 3072)\n        (buf2, ) = self"),
        r"outside of CUDA graphs: kernel.run\(args\[0\]",
    ),
    "no graph": (("def partition_0", "def call_all"), "no part that could be a CUDA graph"),
}


def test_a_good_program_has_no_fault():
    program = Program(GOOD)
    assert faults(program, is_graphed=True) == []
    assert program.partitions == ["partition_0"]
    assert operators(program) == ["mm", "index_put", "sort"]
    assert [dtype for dtype, _ in atomics(program)] == ["*fp32"]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name):
    (good, bad), message = PLANTED[name]
    assert GOOD.count(good) == 1
    (fault,) = faults(Program(GOOD.replace(good, bad)), is_graphed=True)
    assert re.search(message, fault)


def test_what_need_not_be_a_graph_may_compute_anywhere():
    (good, bad), _ = PLANTED["no graph"]
    assert faults(Program(GOOD.replace(good, bad)), is_graphed=False) == []


def test_sizes_that_are_symbols_are_not_judged():
    program = GOOD.replace("(64, 72), (72, 1), 0)", "(s1, 72*s2), (72*s2, 1), 0)")
    assert faults(Program(program), is_graphed=True) == []


@pytest.fixture
def compiled():
    """What a good compilation leaves."""
    metadata = SimpleNamespace(name="kernel", shared=1024, target=SimpleNamespace(arch=80))
    cubin = SimpleNamespace(asm={"cubin": ELF + b"code"}, metadata=metadata)
    found = Compiled(80)
    found.graphs = [SimpleNamespace(source_code=GOOD, disabled_cudagraphs_reason=None)]
    found.kernels = [SimpleNamespace(compile_results=[SimpleNamespace(kernel=cubin)])]
    found.graph_counts, found.is_graphed = Counter(one=1), True
    return found


def test_what_a_compilation_was(compiled):
    assert list(compiled.faults()) == []
    counts = {"programs": 1, "kernels": 1, "cubins": 1, "cubin_bytes": 8, "cuda_graphs": 1}
    counts |= {"atomic_sums": {"*fp32": 1}, "operators": {"mm": 1, "index_put": 1, "sort": 1}}
    assert compiled.facts().items() >= counts.items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.breaks.append("a call of print"), "breaks the graph: a call of print"),
        (lambda found: found.graph_counts.update(one=1), "is 2 graphs"),
        (lambda found: found.graphs.clear(), "is not compiled"),
        (
            lambda found: vars(found.graphs[0]).update(disabled_cudagraphs_reason="a CPU tensor"),
            "cannot be a CUDA graph: a CPU tensor",
        ),
        (lambda found: found.cubins[0].asm.update(cubin=b""), "not one of sm_80: kernel"),
        (
            lambda found: vars(found.cubins[0].metadata.target).update(arch=90),
            "not one of sm_80: kernel",
        ),
        (
            lambda found: vars(found.cubins[0].metadata).update(shared=200_000),
            "200000 bytes of shared memory",
        ),
    ],
)
def test_a_fault_of_a_compilation_is_told(compiled, change, message):
    change(compiled)
    (fault,) = compiled.faults()
    assert message in fault
