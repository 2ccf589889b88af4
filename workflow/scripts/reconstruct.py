"""Real images through the autoencoder: what a perfect diffusion model's samples look like."""

import json

import numpy as np

from slimdit.core.canonical import fingerprint
from slimdit.core.randomness import stream
from slimdit.data.resumable_array import ResumableArray
from slimdit.data.subset import compared_rows, other_training_rows
from slimdit.storage.files import read_csv, sha256_of, write_npz


def reconstruct(
    subset,
    latents,
    held_out_latents,
    latents_manifest,
    reconstructions,
    memorization_per_class,
    source,
    revision,
    precision,
    batch_size,
    state,
    recipe,
    weights=None,
    model_config=None,
):
    """Decode one sample of the posterior of each image, as samples are decoded.

    precision: of sampling. `reconstructions` (.npz) holds images uint8 (N, H, W, 3), each set in
    the order of `subset`: reference, held_out, and other_train, the training images that bring
    each class of the reference to `memorization_per_class`; and as JSON in `meta` what made them.
    """
    from slimdit.compute.devices import device, to_device
    from slimdit.data.autoencoder_files import weights_file
    from slimdit.data.autoencoders import decode_images, load_autoencoder
    from slimdit.data.latents import MEAN, UNFLIPPED, LatentCache, Units
    from slimdit.diffusion.image_decoder import decode_dtype
    from slimdit.diffusion.image_sampler import check_same_autoencoder
    from slimdit.jobs.provenance import arithmetic, conditions

    on = device()
    caches = {
        split: LatentCache(path, latents_manifest, split)
        for split, path in {"train": latents, "held_out": held_out_latents}.items()
    }
    manifest = caches["train"].manifest
    units, dtype = Units(manifest, on), decode_dtype(precision, on)
    autoencoder = load_autoencoder(source, revision, on)
    check_same_autoencoder(weights_file(source, revision), manifest)

    rows = read_csv(subset)
    others = other_training_rows(rows, memorization_per_class)
    sets = {**compared_rows(rows), "other_train": others}
    place_of = {}  # of each image among the latents of its split
    for split in caches:
        paths = [row["path"] for row in rows if row["split"] == split]
        place_of |= {path: (split, place) for place, path in enumerate(paths)}
    places = [place_of[row["path"]] for its_rows in sets.values() for row in its_rows]

    def decode(start, stop):
        batch = places[start:stop]
        moments = np.stack([caches[split].moments[place, UNFLIPPED] for split, place in batch])
        shape = moments[0, MEAN].shape
        eps = [
            stream(0, f"reconstruction/{split}", place).standard_normal(shape, np.float32)
            for split, place in batch
        ]
        x0 = units.sample(to_device(moments, on).float(), to_device(np.stack(eps), on))
        return decode_images(autoencoder, x0, manifest["shift"], manifest["scale"], dtype)

    inputs = {path: sha256_of(path) for path in (subset, weights) if path}
    inputs |= {latents: caches["train"].sha256, held_out_latents: caches["held_out"].sha256}
    made_from = [*inputs.values(), sha256_of(latents_manifest)]
    key = fingerprint([*made_from, str(dtype), arithmetic(), recipe])
    side = manifest["image_size"]
    array = ResumableArray(state, key, (len(places), side, side, 3), np.uint8)
    array.fill(decode, batch_size, "reconstruct", "image")
    stops = np.cumsum([len(its_rows) for its_rows in sets.values()])[:-1]
    meta = {"origin": conditions(at=reconstructions, recipe=recipe, inputs=inputs)}
    write_npz(
        reconstructions,
        **dict(zip(sets, np.split(array.values, stops), strict=True)),
        meta=np.array(json.dumps(meta, sort_keys=True)),
    )
    array.remove()


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        reconstruct(**snakemake.input, **snakemake.params, **snakemake.output)
