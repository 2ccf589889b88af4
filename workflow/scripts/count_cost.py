"""Count a variant's parameters, bytes, and multiply-accumulates of a pass and of an image; needs
neither data nor weights, but for a calibrated cache and for layers that a measurement chose."""


def count_cost(
    architecture,
    variant,
    structure,
    operations,
    sampling,
    num_timesteps,
    guide,
    recipe,
    cache=None,
    sensitivity=None,
):
    """guide: structure and operations of the model that guides the sampling, if one does. cache:
    the file of `calibrate_cache`, where the sampling's is calibrated. sensitivity: that of
    `measure_sensitivity`, where it says which layers are quantized."""
    from slimdit.diffusion.calibration import with_calibrated
    from slimdit.diffusion.guidance import cache_of, most_passes, num_passes
    from slimdit.jobs.provenance import origin
    from slimdit.models.build import compress, empty_model
    from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
    from slimdit.storage.files import sha256_of, write_json
    from slimdit.training.sensitivity import with_measured

    sampling = with_calibrated(sampling, cache)
    spec = {"structure": structure, "operations": with_measured(operations, sensitivity)}
    models = [  # costs do not depend on the weights
        compress(empty_model(each["structure"]), each["operations"])
        for each in (spec, guide)
        if each
    ]
    macs, stored = list(map(count_macs, models)), cache_of(sampling, num_timesteps)
    full, cached = num_passes(sampling, num_timesteps)
    macs_per_image, cache_bytes = full.total(macs), 0
    if stored:
        of_cached = [count_macs(each, stored.cached_pass(each)) for each in models]
        macs_per_image += cached.total(of_cached)
        at_once = most_passes(sampling, num_timesteps)
        cache_bytes = at_once.total(map(stored.bytes_per_image, models))
    counts = {
        "total_params": total_params(models[0]),
        "active_params": active_params(models[0]),
        "macs": macs[0],
        "passes_per_image": sum(full),
        "cached_passes_per_image": sum(cached),
        "macs_per_image": macs_per_image,
        "cache_bytes_per_image": cache_bytes,
        "weight_bytes": weight_bytes(models[0]),
    }
    inputs = {path: sha256_of(path) for path in filter(None, (cache, sensitivity))}
    where_from = origin(at=architecture, recipe=recipe, inputs=inputs)
    write_json(architecture, {"variant": variant, **counts, "spec": spec, "origin": where_from})


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        count_cost(**snakemake.input, **snakemake.params, **snakemake.output)
