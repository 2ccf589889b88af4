"""Measure a variant's latency, throughput and peak memory in a process of its own."""

import json
import logging
import time

log = logging.getLogger(__name__)


def measure_speed(checkpoint, speed, variant, measurement, code):
    """measurement: {"eager_batch_sizes", "compiled_batch_sizes", "warmup_iterations",
    "timed_iterations"}."""
    import torch

    from slimdit.devices import device
    from slimdit.files import sha256_of, write_json
    from slimdit.memory import is_out_of_memory
    from slimdit.provenance import origin
    from slimdit.speed import cannot_compile, compile_blocks, measure_forward, resident_bytes
    from slimdit.variants import build_operations, load_variant, read_metadata

    options, on = json.loads(measurement), device()
    torch.set_float32_matmul_precision("high")
    metadata = read_metadata(checkpoint)
    build_operations(metadata["operations"])  # imports are not the model's memory
    baseline_rss_bytes = resident_bytes()
    model = load_variant(checkpoint).to(on)
    measurements, not_measured = [], []

    def skip(mode, batch_size, reason):
        not_measured.append({"mode": mode, "batch_size": batch_size, "reason": reason})

    def measure(mode, batch_size):
        started_s = time.monotonic()
        try:
            result = measure_forward(
                model,
                random_inputs(model, batch_size, on),
                options["warmup_iterations"],
                options["timed_iterations"],
                on,
                baseline_rss_bytes,
            )
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            skip(mode, batch_size, "does not fit in memory")
            return
        measurements.append({"mode": mode, **result})
        wall_s = time.monotonic() - started_s
        log.info("%s, batch %d: %.2f ms (%.0f s)", mode, batch_size, result["latency_ms"], wall_s)

    for batch_size in options["eager_batch_sizes"]:
        measure("eager", batch_size)
    reason = cannot_compile(on)
    if reason is None:
        compile_blocks(model)
    for batch_size in options["compiled_batch_sizes"]:
        if reason is None:
            measure("compiled", batch_size)
        else:
            skip("compiled", batch_size, reason)
    write_json(
        speed,
        {
            "variant": variant,
            "measurements": measurements,
            "not_measured": not_measured,
            "origin": origin(
                code=code,
                checkpoint_sha256=sha256_of(checkpoint),
                seed=metadata["origin"]["seed"],
            ),
        },
    )


def random_inputs(model, batch_size, on):
    """Latents, timesteps and labels of a forward pass; the same for every variant."""
    import torch

    from slimdit.randomness import stream

    random = stream(0, "speed")
    shape = (batch_size, model.in_channels, model.input_size, model.input_size)
    arrays = (
        random.standard_normal(shape, "float32"),
        random.integers(0, 1000, batch_size),
        random.integers(0, model.num_classes, batch_size),
    )
    return tuple(torch.from_numpy(array).to(on) for array in arrays)


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        measure_speed(**snakemake.input, **snakemake.params, **snakemake.output)
