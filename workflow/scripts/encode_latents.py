"""Encode every image and its mirror image once, into a memory-mapped array for each split."""

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
    held_out_latents,
    manifest,
    images_root,
    image_size,
    latent_channels,
    downsample_factor,
    source,
    revision,
    normalize,
    scaling_factor,
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

    normalize: `measured` takes shift and scale per channel from the training images' latents,
    `config` the autoencoder's own shift_factor and, unless `scaling_factor` names another, its own
    scaling_factor.
    """
    import torch

    from slimdit.compute.devices import device
    from slimdit.compute.precision import name_of
    from slimdit.data.autoencoder_files import weights_file
    from slimdit.data.autoencoders import (
        encode_dtype,
        encode_moments,
        load_autoencoder,
        to_model_range,
    )
    from slimdit.jobs.provenance import arithmetic, conditions

    rows = read_csv(subset)
    side = image_size // downsample_factor
    shape = (2, 2, latent_channels, side, side)
    on = device()
    autoencoder = load_autoencoder(source, revision, on)
    dtype = encode_dtype(encode_precision, on)
    weights_sha256 = sha256_of(weights_file(source, revision))
    inputs = {subset: sha256_of(subset)}
    if weights:
        inputs[weights] = weights_sha256
    made_from = [inputs[subset], weights_sha256, str(dtype), arithmetic(), recipe]

    def encode(batch):
        x = to_model_range(np.stack(list(readers.map(read, batch))), on)
        moments = torch.stack(
            [encode_moments(autoencoder, picture, dtype) for picture in (x, x.flip(-1))], dim=1
        ).half()  # (B, 2 flips, 2 moments, C, h, w)
        if moments.shape[1:] != shape:
            raise InputError(
                f"{source} encodes {image_size} px to {tuple(moments.shape[3:])}, not to "
                f"{shape[2:]}; set autoencoder.latent_channels and autoencoder.downsample_factor."
            )
        finite = moments.isfinite().flatten(1).all(dim=1).tolist()
        if not all(finite):
            path = batch[finite.index(False)]["path"]
            raise InputError(
                f"{source} encodes {path} to numbers that float16 does not hold; its weights "
                "should be those of a trained autoencoder."
            )
        return moments.cpu().numpy()

    def read(row):
        return read_image(row, images_root, image_size)

    def encoded(split, path):
        """The split's array, which is also written to `path`, and what the manifest says of it."""
        its_rows = [row for row in rows if row["split"] == split]
        key = fingerprint([*made_from, split])
        array = ResumableArray(state, key, (len(its_rows), *shape), np.float16)
        array.fill(
            lambda start, stop: encode(its_rows[start:stop]),
            encode_batch_size,
            f"encode {split.replace('_', '-')} images",
            "image",
        )
        array.copy_to(path)
        labels = [int(row["label"]) for row in its_rows]
        return array.values, {"labels": labels, "sha256": sha256_of(path)}

    Image.init()  # threads that load Pillow's formats at the same time miss some
    with ThreadPoolExecutor() as readers:
        _, of_held_out = encoded("held_out", held_out_latents)
        moments, of_train = encoded("train", latents)
    shift, scale = normalization(moments, normalize, scaling_factor, latent_std, autoencoder)
    classes = classes_of(rows)
    write_json(
        manifest,
        {
            "splits": {"train": of_train, "held_out": of_held_out},
            "shape": list(shape),
            "classes": classes,
            "class_names": [class_name(each) for each in classes],
            "normalize": normalize,
            "shift": shift,
            "scale": scale,
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
                at=manifest,
                recipe=recipe,
                inputs=inputs,
                outputs={
                    latents: of_train["sha256"],
                    held_out_latents: of_held_out["sha256"],
                },
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        encode_latents(**snakemake.input, **snakemake.params, **snakemake.output)
