"""Matrix multiplications of groups of rows, and a layer of experts, against plain ones."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from models import trained_model
from ratios import ROUNDED, TOLERANCE, difference
from torch import Tensor

from gpu_checks.bench import Bench, mixtures
from gpu_checks.check import Check, SkippedError
from slimdit.compute.precision import autocast, name_of
from slimdit.core.randomness import stream
from slimdit.models import ops
from slimdit.profiling.latency import clock_s
from slimdit.profiling.modes import COMPILED, MODES

KERNELS = {
    "segments": ops.segment_matmul,
    "blocks": ops.blocked_matmul,
    "fused": ops.fused_matmul,
}
ENDS = [100, 100, 300, 512]  # of the groups' rows
EMPTY = 1  # the group without rows
BATCH_SIZE, NUM_CALLS = 256, 3


def checks(bench: Bench) -> Iterator[Check]:
    for dtype in (torch.float32, torch.bfloat16):
        bound = TOLERANCE if dtype == torch.float32 else ROUNDED
        whats = ("output", "input_gradient", "weight_gradient")
        bounds = {f"{what}_difference": bound for what in whats} | {"empty_group_gradient": 0}
        for name in KERNELS:
            measure = partial(grouped, bench, name, dtype)
            yield Check(f"{name} {name_of(dtype)}", measure, bounds)
    bounds = {"bias1_gradient_error": ROUNDED, "bias2_gradient_error": ROUNDED}
    for variant in mixtures(bench.shallow):
        for mode in MODES:
            yield Check(f"{variant} {mode}", partial(experts, bench, variant, mode), bounds)


def random(what: str, *shape: int) -> Tensor:
    return torch.from_numpy(stream(0, what).standard_normal(shape, "float32"))


def grouped(bench: Bench, name: str, dtype: torch.dtype) -> dict:
    """One kernel and its gradients, against float64; a group without rows has the gradient 0."""
    features, inner = bench.either((384, 1536), (64, 128))
    x = random("x", ENDS[-1], features).to(bench.on, dtype)
    weight = (random("weight", len(ENDS), features, inner) / features**0.5).to(bench.on, dtype)
    ends = torch.tensor(ENDS, dtype=torch.int32, device=bench.on)
    grad = random("grad", ENDS[-1], inner).to(bench.on)
    if name == "fused" and ops.grouped_kernel(x) is not ops.fused_matmul:
        raise SkippedError("not used on this device in this type")

    def results(kernel: Callable, dtype: torch.dtype) -> list[Tensor]:
        leaves = [each.to(dtype).clone().requires_grad_() for each in (x, weight)]
        output = kernel(*leaves, ends)
        output.backward(grad.to(output.dtype))
        return [output.detach(), *(leaf.grad for leaf in leaves)]

    with ops.plain():
        exact = results(ops.grouped_matmul, torch.float64)
    found = results(KERNELS[name], dtype)
    output, input_gradient, weight_gradient = map(difference, exact, found)
    return {
        "output_difference": output,
        "input_gradient_difference": input_gradient,
        "weight_gradient_difference": weight_gradient,
        "empty_group_gradient": found[2][EMPTY].abs().max().item(),
    }


def experts(bench: Bench, variant: str, mode: str) -> dict:
    """Gradients of the experts' biases in bfloat16, sums over all rows of a training's batch,
    against float32; with the time of a layer, forwards and backwards."""
    model = trained_model(bench.shallow, variant)
    layer, num_tokens = model.blocks[-1].mlp.to(bench.on), model.grid_size**2
    shape = (bench.either(BATCH_SIZE, 4), num_tokens, model.hidden_size)
    x, grad = random("x", *shape).to(bench.on), (random("grad", *shape) + 0.05).to(bench.on)

    def gradients(function: Callable, dtype: torch.dtype) -> list[Tensor]:
        layer.zero_grad()
        with autocast(bench.on, dtype):
            output, _ = function(x)
        output.float().backward(grad)
        return [layer.bias1.grad, layer.bias2.grad]

    exact = gradients(layer, torch.float32)
    function = torch.compile(layer, dynamic=False) if mode == COMPILED else layer
    found = gradients(function, torch.bfloat16)
    errors = [relative_error(*pair) for pair in zip(exact, found, strict=True)]
    times_s = []
    for _ in range(NUM_CALLS):
        started_s = clock_s(bench.on)
        gradients(function, torch.bfloat16)
        times_s.append(clock_s(bench.on) - started_s)
    return {
        "bias1_gradient_error": errors[0],
        "bias2_gradient_error": errors[1],
        "layer_ms": 1e3 * min(times_s),
    }


def relative_error(exact: Tensor, found: Tensor) -> float:
    """The norm of the difference, in parts of the exact one's."""
    return ((found - exact).norm() / exact.norm()).item()
