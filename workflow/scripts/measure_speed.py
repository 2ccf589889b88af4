"""Measure a variant's latency, interleaved with its base's, its memory and its energy."""


def measure_speed(checkpoint, speed, variant, base, measurement, recipe, base_checkpoint=None):
    """measurement: {"eager_batch_sizes", "compiled_batch_sizes", "precision",
    "warmup_iterations", "timed_iterations"}.

    base: the variant that this one's latency is compared with, and `base_checkpoint` its weights;
    None where there is none. Memory is measured before they are loaded.
    """
    import torch

    from slimdit.compute.devices import device
    from slimdit.compute.precision import chosen_dtype
    from slimdit.jobs.provenance import origin
    from slimdit.models.checkpoint import load_variant, read_metadata
    from slimdit.models.component import store_weights
    from slimdit.profiling.cost import count_macs
    from slimdit.profiling.energy import energy_counter
    from slimdit.profiling.latency import forward, random_inputs
    from slimdit.profiling.peak_memory import peak_memory
    from slimdit.profiling.roofline import measured_peaks
    from slimdit.profiling.trials import SpeedTrials
    from slimdit.storage.files import sha256_of, write_json

    options, on = measurement, device()
    torch.set_float32_matmul_precision("high")
    metadata = read_metadata(checkpoint)
    model = load_variant(checkpoint, on)
    dtype = chosen_dtype(options["precision"], model.hidden_size, on)
    store_weights(model, dtype)
    memory = {}
    for batch_size in options["eager_batch_sizes"]:
        inputs = random_inputs(model, batch_size, on)
        memory[batch_size] = peak_memory(
            model, lambda inputs=inputs: forward(model, inputs, dtype), on
        )

    models, inputs = [model], {checkpoint: sha256_of(checkpoint)}
    if base_checkpoint:
        models.append(load_variant(base_checkpoint, on))
        store_weights(models[-1], dtype)
        inputs[base_checkpoint] = sha256_of(base_checkpoint)
    macs = count_macs(load_variant(checkpoint, on))  # of its plain weights
    peaks, counter = measured_peaks(on, dtype), energy_counter(on)
    trials = SpeedTrials(models, options, on, macs, peaks, counter)
    for batch_size in options["eager_batch_sizes"]:
        trials.run("eager", batch_size, **memory[batch_size])
    for batch_size in options["compiled_batch_sizes"]:
        trials.run("compiled", batch_size)
    write_json(
        speed,
        {
            "variant": variant,
            "base": base,
            "macs_per_image": macs,
            "peak_macs_per_s": peaks.macs_per_s,
            "peak_bytes_per_s": peaks.bytes_per_s,
            "energy_counter": counter and counter.kind,
            "measurements": trials.measurements,
            "not_measured": trials.not_measured,
            "origin": origin(
                at=speed, recipe=recipe, inputs=inputs, seed=metadata["origin"]["seed"]
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        measure_speed(**snakemake.input, **snakemake.params, **snakemake.output)
