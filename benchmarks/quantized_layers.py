"""How many times as fast each linear layer of S2-base is with its weight quantized, compiled.

    python benchmarks/quantized_layers.py --out quantized-layers.json
    python benchmarks/quantized_layers.py --config tests/tiny.yaml --num-runs 2 --out smoke.json

Each size of layer has the rows that it sees in one pass of a batch: its tokens, or one an image.
It is timed as it is, as what autocast to bfloat16 makes of it, and quantized, interleaved, with
inputs in float32 or, on CUDA, under that autocast. Run in the checkout. Writes and prints JSON.
"""

import functools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

from command_line import study_and_parser

from slimdit.compute.devices import device
from slimdit.compute.precision import autocast, chosen_dtype, name_of
from slimdit.core.randomness import stream
from slimdit.jobs.provenance import origin
from slimdit.models.build import build_model
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.quantization import QuantizedLinear
from slimdit.profiling.latency import clock_s, interleaved_times_s
from slimdit.storage.files import write_json

OPERATIONS = ("int8_weight_only", "int8_dynamic", "fp8_dynamic")
WARMUP_RUNS = 2
SHORTEST_S = 0.01  # of what is timed at once: a layer as often as that takes


def main() -> None:
    study, parser = study_and_parser(__doc__.split("\n\n")[0])
    structure = study.structure("S2-base")
    layers = list(distinct_layers(structure, batch_size=1).values())
    parser.add_argument("--layer", nargs="+", choices=layers, default=layers, metavar="NAME")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--num-runs", type=int, default=15)
    parser.add_argument("--out", type=Path, required=True)
    arguments, on = parser.parse_args(), device()
    dtype = chosen_dtype(arguments.precision, structure["hidden_size"], on)
    cases = [
        {
            "batch_size": batch_size,
            "first_layer": name,
            **measure(*sizes, arguments.num_runs, dtype, on),
        }
        for batch_size in arguments.batch_sizes
        for sizes, name in distinct_layers(structure, batch_size).items()
        if name in arguments.layer
    ]
    result = {
        "cases": cases,
        "precision": name_of(dtype),
        "num_runs": arguments.num_runs,
        "origin": origin(),
    }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=1, sort_keys=True))


def distinct_layers(structure: dict, batch_size: int) -> dict[tuple[int, int, int], str]:
    """(rows, in_features, out_features) of the linear layers in one pass of a batch, and the first
    layer of each."""
    found: dict[tuple[int, int, int], str] = {}

    def note(layer: nn.Linear, _, output: Tensor, name: str) -> None:
        sizes = (output.shape[:-1].numel(), layer.in_features, layer.out_features)
        found.setdefault(sizes, name)

    with torch.device("meta"), torch.inference_mode():
        model = build_model(structure).to("meta")
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(functools.partial(note, name=name))
        ones = torch.ones(batch_size, dtype=torch.long)
        model(torch.zeros(batch_size, model.in_channels, *2 * [model.input_size]), ones, ones)
    return found


def measure(
    rows: int,
    in_features: int,
    out_features: int,
    num_runs: int,
    dtype: torch.dtype,
    on: torch.device,
) -> dict:
    """Milliseconds of each form of a layer, and how many times as fast as the plain one it is."""
    torch.compiler.reset()
    x, weight = (
        torch.from_numpy(stream(0, what).standard_normal((count, in_features), "float32")).to(on)
        for what, count in (("x", rows), ("weight", out_features))
    )
    calls = {
        name: compiled(layer, x, torch.bfloat16 if name == "bfloat16" else dtype)
        for name, layer in forms(weight, on).items()
    }
    repeats = {name: repeats_of(call, on) for name, call in calls.items()}
    timed = [repeated(call, repeats[name]) for name, call in calls.items()]
    now_s = functools.partial(clock_s, on)
    times_s = interleaved_times_s(timed, WARMUP_RUNS, num_runs, now_s)
    times_ms = {
        name: [1e3 * wall_s / repeats[name] for wall_s in walls_s]
        for name, walls_s in zip(calls, times_s, strict=True)
    }
    medians_ms = {name: statistics.median(all_ms) for name, all_ms in times_ms.items()}
    return {
        "rows": rows,
        "in_features": in_features,
        "out_features": out_features,
        "median_ms": medians_ms,
        "all_ms": times_ms,
        "times_as_fast": {
            name: medians_ms["plain"] / median_ms for name, median_ms in medians_ms.items()
        },
    }


def forms(weight: Tensor, on: torch.device) -> dict[str, nn.Linear]:
    """The layer with this weight, plain and by each operation that its sizes and device allow."""
    layers = {"plain": linear(weight), "bfloat16": linear(weight)}
    for name in OPERATIONS:
        operation, layer = COMPRESSION[name](), linear(weight)
        if operation.takes(layer) and operation.unsupported(on) is None:
            operation.quantize(layer)
            layers[name] = QuantizedLinear(layer, operation.dtype)
    return layers


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    layer.weight = nn.Parameter(weight)
    return layer


def compiled(layer: nn.Linear, x: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    @functools.partial(torch.compile, fullgraph=True, dynamic=False)
    def forward(x: Tensor) -> Tensor:
        with autocast(x.device, dtype):
            return layer(x)

    @torch.inference_mode()
    def run() -> None:
        forward(x)

    run()
    return run


def repeats_of(call: Callable[[], None], on: torch.device) -> int:
    now_s = functools.partial(clock_s, on)
    (times_s,) = interleaved_times_s([call], WARMUP_RUNS, 3, now_s)
    return max(1, round(SHORTEST_S / min(times_s)))


def repeated(call: Callable[[], None], count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            call()

    return run


if __name__ == "__main__":
    main()
