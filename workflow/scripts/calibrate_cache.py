"""Find the steps of a row's sampling at which its model's blocks change little."""


def calibrate_cache(checkpoint, cache, variant, sampling, num_timesteps, recipe, guide=None):
    """cache: the JSON file of what samples in the place of `sampling`'s calibrated cache, and of
    the errors that tell it: of each step, by each of those before it that it may be made from, the
    latest first; null where there is none.

    sampling: what `LatentSampler` takes. guide: the weights of the model that guides, if one does.
    """
    import numpy as np

    from slimdit.compute.devices import device
    from slimdit.compute.precision import name_of
    from slimdit.diffusion.calibration import NUM_IMAGES, block_errors
    from slimdit.diffusion.guidance import cache_of
    from slimdit.diffusion.latent_sampler import LatentSampler
    from slimdit.jobs.provenance import conditions
    from slimdit.models.checkpoint import load_variant
    from slimdit.storage.files import sha256_of, write_json

    on = device()
    model = load_variant(checkpoint, on)
    guiding = load_variant(guide, on) if guide else None
    # Once for a few images: compiling would take longer.
    eager = sampling | {"compile": "off", "batch_size": NUM_IMAGES}
    sampler = LatentSampler(model, eager, num_timesteps, on, guiding)
    calibrated = cache_of(sampling, num_timesteps)
    errors = block_errors(sampler, model.num_classes, calibrated.longest)
    write_json(
        cache,
        {
            "variant": variant,
            "cache": calibrated.options(errors),
            "num_images": NUM_IMAGES,
            "dtype": name_of(sampler.dtype),
            "errors": np.where(np.isnan(errors), None, errors).tolist(),
            "origin": conditions(
                at=cache,
                recipe=recipe,
                inputs={path: sha256_of(path) for path in filter(None, (checkpoint, guide))},
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        calibrate_cache(**snakemake.input, **snakemake.params, **snakemake.output)
