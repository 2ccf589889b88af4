"""Encode every training image and its mirror image once, into one memory-mapped array."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from slimdit.core.canonical import fingerprint
from slimdit.core.errors import InputError
from slimdit.data.class_names import class_name
from slimdit.data.latents import classes_of, normalization
from slimdit.data.resumable_array import ResumableArray
from slimdit.data.subset import read_image
from slimdit.storage.files import read_csv, sha256_of, write_json


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
    encode_precision,
    encode_batch_size,
    state,
    recipe,
    images=None,
    cut=None,
    weights=None,
    model_config=None,
):
    """encode_precision: of the encoder, `auto`, float32, float16 or bfloat16.

    normalize: `measured` takes shift and scale per channel from these latents, `config` the
    autoencoder's own scaling_factor and shift_factor.
    """
    import torch

    from slimdit.compute.devices import device
    from slimdit.compute.precision import name_of
    from slimdit.data.autoencoders import (
        encode_dtype,
        encode_moments,
        load_autoencoder,
        to_model_range,
        weights_file,
    )
    from slimdit.jobs.provenance import arithmetic, conditions

    rows = [row for row in read_csv(subset) if row["split"] == "train"]
    side = image_size // downsample_factor
    shape = (len(rows), 2, 2, latent_channels, side, side)
    on = device()
    autoencoder = load_autoencoder(source, revision, on)
    dtype = encode_dtype(encode_precision, on)
    weights_sha256 = sha256_of(weights_file(source, revision))
    inputs = {subset: sha256_of(subset)}
    if weights:
        inputs[weights] = weights_sha256
    key = fingerprint([inputs[subset], weights_sha256, str(dtype), arithmetic(), recipe])

    def encode(start, stop):
        batch = list(readers.map(read, rows[start:stop]))
        x = to_model_range(np.stack(batch), on)
        moments = torch.stack(
            [encode_moments(autoencoder, picture, dtype) for picture in (x, x.flip(-1))], dim=1
        ).half()  # (B, 2 flips, 2 moments, C, h, w)
        if moments.shape[1:] != shape[1:]:
            raise InputError(
                f"{source} encodes {image_size} px to {tuple(moments.shape[3:])}, not to "
                f"{shape[3:]}; set autoencoder.latent_channels and autoencoder.downsample_factor."
            )
        finite = moments.isfinite().flatten(1).all(dim=1).tolist()
        if not all(finite):
            path = rows[start + finite.index(False)]["path"]
            raise InputError(
                f"{source} encodes {path} to numbers that float16 does not hold; its weights "
                "should be those of a trained autoencoder."
            )
        return moments.cpu().numpy()

    def read(row):
        return read_image(row, images_root, image_size)

    array = ResumableArray(state, key, shape, np.float16)
    Image.init()  # threads that load Pillow's formats at the same time miss some
    with ThreadPoolExecutor() as readers:
        array.fill(encode, encode_batch_size, "encode latents", "image")
    shift, scale = normalization(array.values, normalize, latent_std, autoencoder)
    array.copy_to(latents)
    latents_sha256 = sha256_of(latents)
    classes = classes_of(rows)
    write_json(
        manifest,
        {
            "shape": list(shape),
            "labels": [int(row["label"]) for row in rows],
            "classes": classes,
            "class_names": [class_name(each) for each in classes],
            "normalize": normalize,
            "shift": shift,
            "scale": scale,
            "sha256": latents_sha256,
            "image_size": image_size,
            "crop": "centre",
            "flips": ["none", "horizontal"],
            "moments": ["mean", "std"],
            "autoencoder": {
                "source": source,
                "revision": revision,
                "weights_sha256": weights_sha256,
                "precision": name_of(dtype),
            },
            "origin": conditions(
                at=manifest, recipe=recipe, inputs=inputs, outputs={latents: latents_sha256}
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        encode_latents(**snakemake.input, **snakemake.params, **snakemake.output)
