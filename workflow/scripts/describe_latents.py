"""What the latents of a study without images are: their scale, and their classes."""


def describe_latents(
    manifest,
    image_size,
    classes,
    pipelines,
    latent_channels,
    scaling_factor,
    source,
    revision,
    prompts,
    recipe,
):
    """Write `manifest` as `encode_latents` does, without images: shift and scale are the
    autoencoder's own, the latter unless `scaling_factor` names another.

    classes: in the order of the labels. pipelines: checkpoints, {"source", "revision"}, the first
    of which that names the labels gives the classes their names. prompts: classes that rows sample,
    by folder or name.
    """
    import torch

    from slimdit.data.autoencoder_files import weights_file
    from slimdit.data.autoencoders import load_autoencoder
    from slimdit.data.class_names import class_name, labels_of
    from slimdit.data.latents import own_normalization
    from slimdit.jobs.provenance import conditions
    from slimdit.models.published.source import label_names
    from slimdit.storage.files import sha256_of, write_json

    labels_of(prompts, classes)
    autoencoder = load_autoencoder(source, revision, torch.device("cpu"))
    shift, scale = own_normalization(autoencoder, scaling_factor, latent_channels)
    names = next(filter(None, (label_names(**each) for each in pipelines)), {})
    write_json(
        manifest,
        {
            "classes": classes,
            "class_names": [names.get(each) or class_name(each) for each in classes],
            "normalize": "config",
            "shift": shift,
            "scale": scale,
            "image_size": image_size,
            "autoencoder": {
                "source": source,
                "revision": revision,
                "weights_sha256": sha256_of(weights_file(source, revision)),
            },
            "origin": conditions(at=manifest, recipe=recipe),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        describe_latents(**snakemake.input, **snakemake.params, **snakemake.output)
