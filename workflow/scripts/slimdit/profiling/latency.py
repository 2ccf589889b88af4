"""How long a pass through a model takes, on the device that measures it.

Models that are compared are timed interleaved, so that whatever slows the machine down meets both.
"""

import contextlib
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from scipy.special import stdtrit

from slimdit.compute.kernel_graphs import GRAPHED, is_graphed
from slimdit.compute.precision import autocast
from slimdit.core.randomness import stream
from slimdit.models.dit import DiT, DiTBlock

OUTSIDE = 0.05  # of an interval
# Modes of torch.compile, where the kernels are no graph.
AUTOTUNED = "max-autotune-no-cudagraphs"
DEFAULT = "default"


def interleaved_times_s(
    calls: Sequence[Callable[[], object]], warmup: int, timed: int, now_s: Callable[[], float]
) -> list[list[float]]:
    """Seconds of `timed` rounds of each call, after `warmup` rounds; as `interleaved` goes."""

    def timer(call: Callable[[], object]) -> Callable[[], float]:
        def seconds() -> float:
            started_s = now_s()
            call()
            return now_s() - started_s

        return seconds

    return interleaved([timer(call) for call in calls], warmup, timed)


def interleaved(
    timers: Sequence[Callable[[], float]], warmup: int, timed: int
) -> list[list[float]]:
    """What `timed` rounds of each timer give, after `warmup` rounds.

    A round has every timer once; every second round runs backwards, so that none always comes
    after the same other one.
    """
    times_s: list[list[float]] = [[] for _ in timers]
    order = list(range(len(timers)))
    for number in range(warmup + timed):
        for index in reversed(order) if number % 2 else order:
            wall_s = timers[index]()
            if number >= warmup:
                times_s[index].append(wall_s)
    return times_s


def latency(times_s: list[list[float]], batch_size: int) -> dict:
    """Median over all rounds and quartiles, how far these are apart in parts of it, and what it
    makes in a second; times_s: of each process's rounds."""
    rounds_s = list(itertools.chain(*times_s))
    low_s, median_s, high_s = statistics.quantiles(rounds_s, n=4, method="inclusive")
    return {
        "timed_iterations": len(rounds_s),
        "latency_ms": 1e3 * median_s,
        "latency_ms_quartiles": [1e3 * low_s, 1e3 * high_s],
        "latency_spread": (high_s - low_s) / median_s,
        "iterations_per_s": 1 / median_s,
        "images_per_s": batch_size / median_s,
    }


def latency_over_base(
    times_s: list[list[float]], base_times_s: list[list[float]] | None = None
) -> dict:
    """The median of the ratios round by round, with its 95 % interval; None without a base.

    times_s, base_times_s: of each process's rounds, as timed interleaved.
    """
    parts = ("latency_over_base", "latency_over_base_low", "latency_over_base_high")
    if base_times_s is None:
        return dict.fromkeys(parts)
    ratios = [
        [own / base for own, base in zip(*rounds, strict=True)]
        for rounds in zip(times_s, base_times_s, strict=True)
    ]
    median = statistics.median(itertools.chain(*ratios))
    return dict(zip(parts, (median, *interval(ratios)), strict=True))


def interval(ratios: list[list[float]]) -> tuple[float, float] | tuple[None, None]:
    """95 % interval for the median ratio, of rounds in several processes: Student's t of the logs
    of the processes' medians; None of one process, which tells nothing of others.

    Processes differ by more than their rounds do, since where memory lies is chance for each. An
    interval over all rounds at once (order statistics) is therefore too short: it holds the truth
    in 60 % of measurements where processes spread as far as rounds do, this one in 95 %
    (benchmarks/speed_interval.py).
    """
    if len(ratios) == 1:
        return None, None
    medians = [math.log(statistics.median(each)) for each in ratios]
    error = statistics.stdev(medians) / math.sqrt(len(medians))
    margin = stdtrit(len(medians) - 1, 1 - OUTSIDE / 2) * error
    return tuple(math.exp(statistics.mean(medians) + side * margin) for side in (-1, 1))


def clock_s(device: torch.device) -> float:
    """Now, with all that was asked of the device done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def random_inputs(model: DiT, batch_size: int, on: torch.device) -> tuple[torch.Tensor, ...]:
    """Latents, timesteps and labels of a forward pass; the same for every variant."""
    random = stream(0, "speed")
    shape = (batch_size, model.in_channels, model.input_size, model.input_size)
    arrays = (
        random.standard_normal(shape, "float32"),
        random.integers(0, 1000, batch_size),
        random.integers(0, model.num_classes, batch_size),
    )
    return tuple(torch.from_numpy(array).to(on) for array in arrays)


def forward(model: Callable, inputs: tuple[torch.Tensor, ...], dtype: torch.dtype) -> None:
    """One pass of the inputs, by autocast unless in float32."""
    with torch.inference_mode(), autocast(inputs[0].device, dtype):
        model(*inputs)


@contextlib.contextmanager
def compiled(model: DiT, batch_size: int) -> Iterator[tuple[Callable, str]]:
    """The model compiled for batches of this size, and torch.compile's mode: on CUDA one graph of
    kernels for a small batch. When the context ends all that was compiled is forgotten.

    Its graphs are its own: what else is compiled at the same time does not change them.
    """
    try:
        if is_graphed(batch_size, _device(model)):
            whole = _compiled(model, GRAPHED)
            yield functools.partial(_in_new_step, whole), GRAPHED
        else:
            yield model, compile_blocks(model)
    finally:
        for block in model.blocks:
            vars(block).pop("forward", None)
        torch.compiler.reset()


def compile_blocks(model: DiT) -> str:
    """Compile the transformer block once for all blocks, in place, without graph breaks; returns
    torch.compile's mode.

    The rest is a few small layers; compiling them too takes several times as long. On CUDA with
    autotuned kernels, on a CPU with Inductor's defaults.
    """
    mode = AUTOTUNED if _device(model).type == "cuda" else DEFAULT
    forward_of = _compiled(DiTBlock.forward, mode)
    for block in model.blocks:
        block.forward = functools.partial(forward_of, block)
    return mode


def _compiled(function: Callable, mode: str) -> Callable:
    return torch.compile(
        function, fullgraph=True, dynamic=False, isolate_recompiles=True, mode=mode
    )


def _in_new_step(graph: Callable, *inputs: torch.Tensor):
    """Run a graph whose earlier outputs may be overwritten."""
    torch.compiler.cudagraph_mark_step_begin()
    return graph(*inputs)


def _device(model: DiT) -> torch.device:
    return next(model.parameters()).device
