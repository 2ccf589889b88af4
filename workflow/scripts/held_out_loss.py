"""The denoising error of a run on held-out images, with its error over other images."""


def held_out_loss(
    checkpoint,
    latents_manifest,
    reference,
    loss,
    variant,
    seed,
    num_timesteps,
    num_draws,
    batch_size,
    precision,
    encode_precision,
    groups_seed,
    source,
    revision,
    recipe,
    weights=None,
    model_config=None,
):
    """Write `loss`: the mean over the held-out images of `reference` (.npz) of what
    `held_out_losses` gives of each.

    precision: of the model, as `chosen_dtype` reads it; encode_precision: of the encoder.
    groups_seed: of the groups of images that are left out for the error.
    """
    import numpy as np
    import torch

    from slimdit.compute.devices import device
    from slimdit.compute.precision import chosen_dtype, name_of
    from slimdit.data.autoencoders import encode_dtype, load_autoencoder
    from slimdit.evaluation.metrics.uncertainty import jackknife, jackknife_groups, resampled_mean
    from slimdit.jobs.provenance import conditions
    from slimdit.models.checkpoint import load_variant
    from slimdit.models.component import store_weights
    from slimdit.storage.files import read_json, sha256_of, write_json
    from slimdit.training.held_out_loss import held_out_losses

    on = device()
    torch.set_float32_matmul_precision("high")
    model = load_variant(checkpoint, on).eval()
    dtype = chosen_dtype(precision, model.hidden_size, on)
    store_weights(model, dtype)
    with np.load(reference) as arrays:
        images, labels = arrays["held_out_images"], arrays["held_out_labels"]
    losses = held_out_losses(
        model,
        load_autoencoder(source, revision, on),
        read_json(latents_manifest),
        images,
        labels,
        num_draws,
        num_timesteps,
        batch_size,
        dtype,
        encode_dtype(encode_precision, on),
        on,
    )
    means = resampled_mean(losses, jackknife_groups(len(losses), groups_seed, labels))
    files = [checkpoint, latents_manifest, reference, *filter(None, [weights])]
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
