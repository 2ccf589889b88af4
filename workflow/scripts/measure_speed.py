"""Measure a variant's latency, throughput and peak memory in a process of its own."""

import json
import logging
import shutil

log = logging.getLogger(__name__)


def measure_speed(checkpoint, speed, variant, measurement, code):
    """measurement: {"batch_sizes", "modes", "warmup_iterations", "timed_iterations"}."""
    import torch

    from slimdit.devices import device
    from slimdit.files import sha256_of, write_json
    from slimdit.provenance import origin
    from slimdit.speed import compiled, measure_forward, resident_bytes
    from slimdit.variants import load_variant, read_metadata

    options, on = json.loads(measurement), device()
    torch.set_float32_matmul_precision("high")
    if any(op["name"] == "int8_weight_only" for op in read_metadata(checkpoint)["operations"]):
        import torchao  # noqa: F401  (so that its import does not count as the model's memory)
    baseline_rss_bytes = resident_bytes()
    model = load_variant(checkpoint).to(on)
    measurements, not_measured = [], []
    for mode in options["modes"]:
        if mode == "compiled" and on.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            reason = "torch.compile needs a C++ compiler on the CPU, and there is none"
            not_measured += [
                {"mode": mode, "batch_size": size, "reason": reason}
                for size in options["batch_sizes"]
            ]
            continue
        for batch_size in options["batch_sizes"]:
            forward = compiled(model) if mode == "compiled" else model
            side = model.input_size
            generator = torch.Generator().manual_seed(0)
            inputs = (
                torch.randn(batch_size, model.in_channels, side, side, generator=generator).to(on),
                torch.randint(0, 1000, (batch_size,), generator=generator).to(on),
                torch.randint(0, model.num_classes, (batch_size,), generator=generator).to(on),
            )
            result = measure_forward(
                forward, inputs, options["warmup_iterations"], options["timed_iterations"], on,
                baseline_rss_bytes,
            )
            log.info("%s, batch %d: %.3f ms", mode, batch_size, result["latency_ms"])
            measurements.append({"mode": mode, **result})
    write_json(speed, {
        "variant": variant,
        "measurements": measurements,
        "not_measured": not_measured,
        "origin": origin(code=code, checkpoint_sha256=sha256_of(checkpoint)),
    })


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        measure_speed(**snakemake.input, **snakemake.params, **snakemake.output)
