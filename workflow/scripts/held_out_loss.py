"""The denoising error of a run on held-out images, with its error over other images."""


def held_out_loss(
    checkpoint,
    held_out_latents,
    latents_manifest,
    loss,
    variant,
    seed,
    num_timesteps,
    num_draws,
    batch_size,
    precision,
    groups_seed,
    recipe,
):
    """Write `loss`: the mean over the held-out images of what `held_out_losses` gives of each.

    precision: of the model, as `chosen_dtype` reads it. groups_seed: of the groups of images that
    are left out for the error.
    """
    from slimdit.compute.devices import device
    from slimdit.compute.precision import name_of
    from slimdit.data.latents import LatentCache
    from slimdit.evaluation.metrics.uncertainty import jackknife, jackknife_groups, resampled_mean
    from slimdit.jobs.provenance import conditions
    from slimdit.models.checkpoint import load_variant
    from slimdit.models.component import store_by_precision
    from slimdit.storage.files import sha256_of, write_json
    from slimdit.training.held_out_loss import held_out_losses

    on = device()
    model = load_variant(checkpoint, on).eval()
    dtype = store_by_precision(model, precision, on)
    cache = LatentCache(held_out_latents, latents_manifest, "held_out")
    losses = held_out_losses(model, cache, num_draws, num_timesteps, batch_size, dtype, on)
    means = resampled_mean(losses, jackknife_groups(len(losses), groups_seed, cache.labels))
    files = (checkpoint, held_out_latents, latents_manifest)
    write_json(
        loss,
        {
            "variant": variant,
            "seed": seed,
            "num_images": len(losses),
            "num_draws": num_draws,
            "dtype": name_of(dtype),
            "held_out_loss": jackknife(means, drawn_from=["held-out", num_timesteps]),
            "origin": conditions(
                at=loss, recipe=recipe, inputs={path: sha256_of(path) for path in files}
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        held_out_loss(**snakemake.input, **snakemake.params, **snakemake.output)
