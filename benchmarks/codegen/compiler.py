"""Inductor and Triton for a GPU that is not there: programs are made and compiled to cubins, and
what runs in their place are the traced graphs, on fake tensors."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import torch
import triton
from fake_cuda.device import fake_cuda
from torch import Tensor
from torch._dynamo.device_interface import CudaInterface
from torch._inductor.output_code import CompiledFxGraph
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _triton as triton_probes
from triton.backends.compiler import GPUTarget

import slimdit.compute.compiler
from codegen.compiled import SHARED_MEMORY_BYTES, Compiled

INDUCTOR = {
    "fx_graph_cache": False,  # of an earlier pass
    "joint_graph_constant_folding": False,  # computes
    "shape_padding": False,  # of unaligned matrices, where it is faster: their place is our code
    "use_static_cuda_launcher": False,  # keeps Triton's kernels, whose cubins are looked at
}
AUTOGRAD = {"enable_autograd_cache": False, "force_non_lazy_backward_lowering": True}
WIDEST_FLASH_HEAD = 256


class NoGpu:
    """What Triton asks a driver for while it compiles."""

    def __init__(self, target: GPUTarget):
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)


@contextlib.contextmanager
def compiling_for(sm: int) -> Iterator[tuple[torch.device, Compiled]]:
    """Within this context torch.compile compiles for GPUs of this kind: 90 for sm_90.

    To be entered for one kind in a process, since much is cached of it.
    """
    target, compiled = GPUTarget("cuda", sm, 32), Compiled(sm)
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(fake_cuda(divmod(sm, 10)))
        replace = lambda *what: stack.enter_context(mock.patch.object(*what))  # noqa: E731
        _replace_device(replace, target)
        _replace_compilation(replace, compiled)
        triton.runtime.driver.set_active(NoGpu(target))
        stack.enter_context(torch._inductor.config.patch(INDUCTOR))
        stack.enter_context(torch._functorch.config.patch(AUTOGRAD))
        mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        mode.shape_env, mode.static_shapes = ShapeEnv(), False  # some sizes are symbols
        for probe in vars(triton_probes).values():
            if hasattr(probe, "cache_clear"):
                probe.cache_clear()
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        yield device, compiled
        compiled.breaks = list(torch._dynamo.utils.counters["graph_break"])


def _replace_device(replace, target: GPUTarget) -> None:
    """What Inductor asks a GPU for, beside what `fake_cuda` answers."""
    torch._C._cuda_getCurrentRawStream = lambda index: 0
    torch._C._cuda_cudaCachingAllocator_is_enabled = lambda: True
    about = SimpleNamespace(
        **vars(torch.cuda.get_device_properties()),
        max_threads_per_block=1024,
        shared_memory_per_block_optin=SHARED_MEMORY_BYTES[target.arch],
    )
    answers = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": about,
        "get_compute_capability": target.arch,
    }
    for owner in (torch.cuda, CudaInterface, CudaInterface.Worker):
        for name in answers.keys() & vars(owner).keys():
            replace(owner, name, lambda *_, value=answers[name], **__: value)
    replace(torch.cuda, "_lazy_init", lambda: None)
    state = torch.zeros(16, dtype=torch.uint8)
    replace(torch.cuda, "get_rng_state", lambda *_: state)
    replace(torch.cuda, "set_rng_state", lambda *_: None)
    for name in ("_exchange_device", "_maybe_exchange_device"):
        replace(torch.cuda, name, lambda index: 0)
    replace(torch.nn.functional, "scaled_dot_product_attention", _attention)


def _attention(q: Tensor, k: Tensor, v: Tensor, **_) -> Tensor:
    """What CUDA chooses; without a GPU PyTorch takes the plain form."""
    if q.dtype == torch.float32 or q.shape[-1] > WIDEST_FLASH_HEAD:
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        return efficient(q, k, v, None, torch.is_grad_enabled())[0]
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]


def _replace_compilation(replace, compiled: Compiled) -> None:
    """Programs are made and recorded, and not run; whether any can be made is not tried first."""
    replace(slimdit.compute.compiler, "cannot_compile", lambda device_type: None)
    inductor = torch._TorchCompileInductorWrapper
    compile_graph = inductor.__call__

    def traced(self, graph, inputs, **options):
        compile_graph(self, graph, inputs, **options)
        compiled.graph_counts[id(self)] += 1
        compiled.is_graphed |= bool(self.config.get("triton.cudagraphs"))
        return graph.forward

    replace(inductor, "__call__", traced)
    replace(CompiledFxGraph, "post_compile", lambda self, *_: compiled.graphs.append(self))
    replace(CachingAutotuner, "_make_launchers", lambda self: compiled.kernels.append(self))
    replace(CachingAutotuner, "_dynamic_scale_rblock", lambda self: None)
    replace(triton_helpers, "set_driver_to_gpu", lambda: None)
