"""Sample a run's images: the set that is evaluated, the named prompts, and a grid to look at."""

import json
import time

import numpy as np
from PIL import Image

from slimdit.errors import InputError
from slimdit.files import (
    atomic_path,
    fingerprint,
    read_json,
    sha256_of,
    write_json,
    write_npz,
)

GRID_ROWS = 8
GRID_COLUMNS = 13


def sample(
    checkpoint,
    latents_manifest,
    samples,
    prompts,
    grid,
    report,
    variant,
    seed,
    sampling,
    num_timesteps,
    source,
    revision,
    state,
    code,
    weights=None,
    model_config=None,
):
    """sampling: what `Generator` takes, and {"num_samples", "num_sets", "labels", "batch_size",
    "prompts"}. Set 0 is what `samples` holds as arr_0; further sets of the same labels, from other
    noise, are in `other_sets` (num_sets - 1, N, H, W, 3).
    """
    import torch

    from slimdit.autoencoders import decode_images, load_autoencoder, weights_file
    from slimdit.devices import device
    from slimdit.generation import Generator, labels_for
    from slimdit.provenance import arithmetic, origin
    from slimdit.resumable import ResumableArray
    from slimdit.variants import load_variant

    options, manifest = json.loads(sampling), read_json(latents_manifest)
    prompt_labels = prompt_classes(options["prompts"], manifest["classes"])
    on = device()
    torch.set_float32_matmul_precision("high")
    model = load_variant(checkpoint)
    generator = Generator(model, options, num_timesteps, on)
    autoencoder = load_autoencoder(source, revision, on)
    check_same_autoencoder(weights_file(source, revision), manifest)

    def images(indices, labels, name):
        z = generator.latents(indices, labels, name)
        return decode_images(autoencoder, z, manifest["shift"], manifest["scale"])

    labels = labels_for(
        options["num_samples"], model.num_classes, options["labels"], options["seed"]
    )
    key = fingerprint(
        [
            sampling,
            num_timesteps,
            code,
            arithmetic(),
            sha256_of(checkpoint),
            sha256_of(latents_manifest),
        ]
    )
    all_labels = np.tile(labels, options["num_sets"])
    shape = (len(all_labels), manifest["image_size"], manifest["image_size"], 3)
    array = ResumableArray(state, key, shape, np.uint8)
    todo, started_s = len(all_labels) - array.done, time.monotonic()
    array.fill(
        lambda start, stop: images(np.arange(start, stop), all_labels[start:stop], "image"),
        options["batch_size"],
        "sample",
        "image",
    )
    wall_s = time.monotonic() - started_s

    sets = array.values.reshape(options["num_sets"], len(labels), *shape[1:])
    others = {"other_sets": sets[1:]} if len(sets) > 1 else {}
    write_npz(samples, arr_0=sets[0], arr_1=labels, **others)
    chosen = images(np.arange(len(prompt_labels)), prompt_labels, "prompt")
    write_npz(
        prompts,
        arr_0=chosen,
        arr_1=prompt_labels,
        names=np.array([manifest["classes"][label] for label in prompt_labels]),
    )
    write_grid(grid, sets[0], labels)
    write_json(
        report,
        {
            "variant": variant,
            "seed": seed,
            "num_samples": len(labels),
            "sampling": options,
            "wall_s": wall_s,
            # An interrupted run has timed only what was left; a finished one nothing.
            "images_per_s": todo / wall_s if todo else None,
            "samples_sha256": sha256_of(samples),
            "prompts_sha256": sha256_of(prompts),
            "origin": origin(code=code, checkpoint_sha256=sha256_of(checkpoint)),
        },
    )
    array.remove()


def check_same_autoencoder(weights, manifest):
    """Raise InputError unless `weights` are those that the latents were encoded by."""
    if sha256_of(weights) != manifest["autoencoder"]["weights_sha256"]:
        raise InputError(
            f"{weights} are not the weights that the latents were encoded by (their sha256 "
            "differs); restore them, or delete the study's data/latents.json to encode anew."
        )


def prompt_classes(prompts, classes):
    """Labels of the named classes; raises InputError for a name that is not in the subset.

    Without names, the first eight classes.
    """
    unknown = [name for name in prompts or [] if name not in classes]
    if unknown:
        raise InputError(
            f"sampling.prompts: {unknown[0]!r} is none of the subset's classes "
            f"({', '.join(classes)})."
        )
    return np.array([classes.index(name) for name in prompts or classes[:8]], np.int64)


def write_grid(path, images, labels):
    """One column a class, for the first classes; rows are different images of it."""
    columns = [images[labels == label][:GRID_ROWS] for label in np.unique(labels)[:GRID_COLUMNS]]
    rows = min(len(column) for column in columns)
    picture = np.concatenate([np.concatenate(column[:rows], axis=0) for column in columns], axis=1)
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary)


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        sample(**snakemake.input, **snakemake.params, **snakemake.output)
