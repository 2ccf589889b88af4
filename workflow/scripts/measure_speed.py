"""Measure a variant's latency, interleaved with its base's, its memory, its energy and the time of
decoding."""

DECODING = ("compile", "precision")  # what of a sampling it depends on


def measure_speed(
    checkpoint,
    speed,
    variant,
    base,
    measurement,
    samplings,
    recipe,
    source=None,
    revision=None,
    guide=None,
    cache=None,
    base_checkpoint=None,
    base_guide=None,
    base_cache=None,
    weights=None,
    model_config=None,
):
    """measurement: the config's `speed`.

    base: the variant that this one's latency is compared with, and `base_checkpoint` its weights;
    None where there is none. samplings: of the variant and of its base, what `LatentSampler` takes;
    guide, base_guide: the weights of the models that guide them, if some do; cache, base_cache: the
    files of `calibrate_cache`, where the samplings' caches are calibrated; weights, model_config:
    the autoencoder's files, where it lies in a folder.
    source, revision: of the autoencoder whose decoding is timed, but for a row that decodes as its
    base does; None: none is.
    Processes of their own time both; nothing of this one is on the device meanwhile.
    """
    from functools import partial

    from slimdit.compute.devices import device
    from slimdit.diffusion.calibration import with_calibrated
    from slimdit.diffusion.image_decoder import ImageDecoder
    from slimdit.diffusion.latent_sampler import LatentSampler
    from slimdit.jobs.launch import in_own_process
    from slimdit.jobs.provenance import origin
    from slimdit.models.checkpoint import load_variant, read_metadata
    from slimdit.models.component import store_by_precision
    from slimdit.profiling.cost import count_macs
    from slimdit.profiling.energy import energy_counter
    from slimdit.profiling.latency import forward, random_inputs
    from slimdit.profiling.modes import EAGER, MODES
    from slimdit.profiling.peak_memory import peak_memory
    from slimdit.profiling.roofline import least_bytes, measured_peaks, roofline
    from slimdit.profiling.trials import TimedRow, time_rows, together
    from slimdit.storage.files import sha256_of, write_json

    own, its = (checkpoint, guide, cache), (base_checkpoint, base_guide, base_cache)
    rows = [
        TimedRow(
            path,
            partial(
                LatentSampler,
                sampling=with_calibrated(each["sampling"], stored),
                num_timesteps=each["num_timesteps"],
            ),
            guiding,
        )
        for (path, guiding, stored), each in zip((own, its), samplings, strict=False)
    ]
    paths = [*own, *its, weights]
    how, *of_base = [{key: each["sampling"][key] for key in DECODING} for each in samplings]
    is_timed = source and how not in of_base
    decoder = partial(ImageDecoder, source, revision, **how) if is_timed else None
    found = [
        in_own_process(time_rows, rows, measurement, decoder)
        for _ in range(measurement["processes"])
    ]

    on = device()
    model = load_variant(checkpoint, on)
    macs = count_macs(model)  # of its plain weights
    dtype = store_by_precision(model, measurement["precision"], on)
    counter = energy_counter(on)
    has_passes = any(each["mode"] in MODES for each in found[0])
    peaks = measured_peaks(on, dtype) if has_passes else None
    measurements, not_measured = [], []
    for each in map(together, zip(*found, strict=True)):
        if "reason" in each:
            not_measured.append(each)
            continue
        batch_size = each["batch_size"]
        if each["mode"] == EAGER:
            inputs = random_inputs(model, batch_size, on)
            each |= peak_memory(model, partial(forward, model, inputs, dtype), on)
        if each["mode"] in MODES:
            work = batch_size * macs, least_bytes(model, batch_size, dtype)
            each |= roofline(*work, each["latency_ms"] / 1e3, peaks)
        measurements.append(each)
    write_json(
        speed,
        {
            "variant": variant,
            "base": base,
            "macs_per_image": macs,
            "peak_macs_per_s": peaks and peaks.macs_per_s,
            "peak_bytes_per_s": peaks and peaks.bytes_per_s,
            "energy_counter": counter and counter.kind,
            "measurements": measurements,
            "not_measured": not_measured,
            "origin": origin(
                at=speed,
                recipe=recipe,
                inputs={path: sha256_of(path) for path in filter(None, paths)},
                seed=read_metadata(checkpoint)["origin"]["seed"],
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        measure_speed(**snakemake.input, **snakemake.params, **snakemake.output)
