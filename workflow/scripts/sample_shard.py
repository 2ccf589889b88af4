"""Sample a part of a run's images, for `sample` to put together."""


def sample_shard(
    checkpoint,
    latents_manifest,
    images,
    report,
    variant,
    seed,
    sampling,
    num_timesteps,
    source,
    revision,
    shard,
    state,
    recipe,
    guide=None,
    cache=None,
    weights=None,
    model_config=None,
):
    """shard: "2-of-8"; the others are those of `sample`."""
    from slimdit.diffusion.image_sampler import ImageSampler
    from slimdit.jobs.provenance import origin
    from slimdit.storage.files import sha256_of, write_json
    from slimdit.study.jobs import rows_of_shard

    sampler = ImageSampler(
        checkpoint, latents_manifest, sampling, num_timesteps, source, revision, guide, cache
    )
    rows = rows_of_shard(shard, sampler.num_images, sampling["batch_size"])
    array, num_made, wall_s = sampler.array(state, recipe, rows)
    array.copy_to(images)
    write_json(
        report,
        {
            "variant": variant,
            "seed": seed,
            "shard": shard,
            "rows": [rows.start, rows.stop],
            "dtype": sampler.precision_name,
            "num_made": num_made,
            "wall_s": wall_s,
            "images_sha256": sha256_of(images),
            "origin": origin(at=report, recipe=recipe, inputs=sampler.inputs),
        },
    )
    array.remove()


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        sample_shard(**snakemake.input, **snakemake.params, **snakemake.output)
