"""Apply compressions (pruning, quantization) to a trained parent's weights."""


def compress(
    parent,
    checkpoint,
    variant,
    seed,
    operations,
    num_timesteps,
    recipe,
    latents=None,
    latents_manifest=None,
    sensitivity=None,
):
    """The latents are given where an operation measures the loss on them, the file of
    `measure_sensitivity` where it says which layers are quantized."""
    from slimdit.compute.devices import device
    from slimdit.data.latents import LatentCache
    from slimdit.jobs.provenance import conditions
    from slimdit.models import build
    from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
    from slimdit.storage.files import sha256_of
    from slimdit.training.calibration import CalibrationLoss
    from slimdit.training.sensitivity import with_measured

    metadata, inputs = read_metadata(parent), {parent: sha256_of(parent)}
    operations = with_measured(operations, sensitivity)
    if sensitivity:
        inputs[sensitivity] = sha256_of(sensitivity)
    on, loss = None, None
    if latents:
        on, cache = device(), LatentCache(latents, latents_manifest)
        inputs[latents] = cache.sha256
        loss = CalibrationLoss(cache, num_timesteps, on)
    model = build.compress(load_variant(parent, on), operations, loss)
    where_from = conditions(
        at=checkpoint,
        recipe=recipe,
        inputs=inputs,
        variant=variant,
        seed=seed,
    )
    save_variant(
        checkpoint, model, metadata["structure"], metadata["operations"] + operations, where_from
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        compress(**snakemake.input, **snakemake.params, **snakemake.output)
