"""Encode every training image and its mirror image once, into one memory-mapped array."""

import numpy as np

from slimdit.errors import InputError
from slimdit.files import fingerprint, read_csv, sha256_of, write_json
from slimdit.resumable import ResumableArray
from slimdit.subset import read_image


def encode_latents(
    subset,
    latents,
    manifest,
    images_root,
    image_size,
    latent_channels,
    downsample_factor,
    source,
    revision,
    normalize,
    latent_std,
    batch_size,
    state,
    code,
    images=None,
    cut=None,
    weights=None,
    model_config=None,
):
    """normalize: `measured` takes shift and scale per channel from these latents, `config` the
    autoencoder's own scaling_factor and shift_factor."""
    import torch

    from slimdit.autoencoders import (
        encode_moments,
        load_autoencoder,
        to_model_range,
        weights_file,
    )
    from slimdit.devices import device
    from slimdit.provenance import arithmetic, conditions

    rows = [row for row in read_csv(subset) if row["split"] == "train"]
    side = image_size // downsample_factor
    shape = (len(rows), 2, 2, latent_channels, side, side)
    on = device()
    autoencoder = load_autoencoder(source, revision, on)
    weights_sha256 = sha256_of(weights_file(source, revision))
    subset_sha256 = sha256_of(subset)
    key = fingerprint(
        [subset_sha256, image_size, source, revision, weights_sha256, arithmetic(), code]
    )

    def encode(start, stop):
        batch = np.stack([read_image(row, images_root, image_size) for row in rows[start:stop]])
        x = to_model_range(batch, on)
        moments = torch.stack(
            [encode_moments(autoencoder, picture) for picture in (x, x.flip(-1))], dim=1
        )  # (B, 2 flips, 2 moments, C, h, w)
        if moments.shape[1:] != shape[1:]:
            raise InputError(
                f"{source} encodes {image_size} px to {tuple(moments.shape[3:])}, not to "
                f"{shape[3:]}; set autoencoder.latent_channels and autoencoder.downsample_factor."
            )
        return moments.cpu().numpy()

    array = ResumableArray(state, key, shape, np.float16)
    array.fill(encode, batch_size, "encode latents", "image")
    shift, scale = normalization(array.values, normalize, latent_std, autoencoder)
    array.copy_to(latents)
    write_json(
        manifest,
        {
            "shape": list(shape),
            "labels": [int(row["label"]) for row in rows],
            "classes": class_names(rows),
            "shift": shift,
            "scale": scale,
            "sha256": sha256_of(latents),
            "subset_sha256": subset_sha256,
            "image_size": image_size,
            "crop": "centre",
            "flips": ["none", "horizontal"],
            "moments": ["mean", "std"],
            "autoencoder": {
                "source": source,
                "revision": revision,
                "weights_sha256": weights_sha256,
            },
            "origin": conditions(code=code),
        },
    )


def class_names(rows):
    names = {int(row["label"]): row["class"] for row in rows}
    return [names[label] for label in sorted(names)]


def normalization(moments, normalize, latent_std, autoencoder):
    """Per channel: what to subtract from a latent, and what to multiply it with.

    Measured: samples of the posterior get mean 0 and standard deviation `latent_std`.
    """
    from slimdit.latents import MEAN, STD

    channels = moments.shape[3]
    if normalize == "config":
        shift = getattr(autoencoder.config, "shift_factor", None) or 0.0
        return [float(shift)] * channels, [float(autoencoder.config.scaling_factor)] * channels
    means, stds = moments[:, :, MEAN].astype(np.float32), moments[:, :, STD].astype(np.float32)
    images = (0, 1, 3, 4)
    shift = means.mean(axis=images, dtype=np.float64)
    variance = means.var(axis=images, dtype=np.float64)
    # Of what is trained on: a channel that the posterior has given up is noise, not a faint signal.
    variance += np.square(stds).mean(axis=images, dtype=np.float64)
    scale = latent_std / np.sqrt(variance)
    return shift.tolist(), scale.tolist()


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        encode_latents(**snakemake.input, **snakemake.params, **snakemake.output)
