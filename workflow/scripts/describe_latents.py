"""What the latents of a study without images are: their scale, and their classes."""


def describe_latents(
    manifest, image_size, classes, latent_channels, source, revision, prompts, recipe
):
    """Write `manifest` as `encode_latents` does, without images: shift and scale are the
    autoencoder's own.

    classes: in the order of the labels. prompts: classes that rows sample, by folder or name.
    """
    import torch

    from slimdit.data.autoencoder_files import weights_file
    from slimdit.data.autoencoders import load_autoencoder
    from slimdit.data.class_names import class_name, labels_of
    from slimdit.data.latents import own_normalization
    from slimdit.jobs.provenance import conditions
    from slimdit.storage.files import sha256_of, write_json

    labels_of(prompts, classes)
    autoencoder = load_autoencoder(source, revision, torch.device("cpu"))
    shift, scale = own_normalization(autoencoder, latent_channels)
    write_json(
        manifest,
        {
            "classes": classes,
            "class_names": [class_name(each) for each in classes],
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
