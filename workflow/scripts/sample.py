"""Sample a run's images: the set that is evaluated, the named prompts, and a grid to look at."""

import numpy as np
from PIL import Image

from slimdit.class_names import labels_of
from slimdit.errors import InputError
from slimdit.files import atomic_path, read_json, sha256_of, write_json, write_npz

NUM_PROMPTS = 8  # the first classes, where none are named
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
    shards=(),
    shard_reports=(),
):
    """sampling: what `ImageSampler` takes, and "prompts". Set 0 is what `samples` holds as arr_0;
    further sets are in `other_sets` (num_sets - 1, N, H, W, 3).

    shards: arrays of `sample_shard` and their reports, in order; without any, all is made here.
    """
    from slimdit.image_sampler import ImageSampler
    from slimdit.provenance import origin

    sampler = ImageSampler(checkpoint, latents_manifest, sampling, num_timesteps, source, revision)
    options, manifest, labels = sampler.options, sampler.manifest, sampler.labels
    classes = manifest["classes"]
    prompt_labels = labels_of(options["prompts"] or classes[:NUM_PROMPTS], classes)
    if shards:
        made = [read_json(path) for path in shard_reports]
        images = joined(shards, made, sampler.precision_name)
        num_made, wall_s = (sum(one[key] for one in made) for key in ("num_made", "wall_s"))
    else:
        array, num_made, wall_s = sampler.array(state, code, range(sampler.num_images))
        images = array.values

    sets = images.reshape(options["num_sets"], len(labels), *images.shape[1:])
    others = {"other_sets": sets[1:]} if len(sets) > 1 else {}
    write_npz(samples, arr_0=sets[0], arr_1=labels, **others)
    chosen = sampler.images(np.arange(len(prompt_labels)), prompt_labels, "prompt")
    write_npz(
        prompts,
        arr_0=chosen,
        arr_1=prompt_labels,
        names=np.array([manifest["class_names"][label] for label in prompt_labels]),
    )
    write_grid(grid, sets[0], labels)
    write_json(
        report,
        {
            "variant": variant,
            "seed": seed,
            "num_samples": len(labels),
            "num_shards": max(len(shards), 1),
            "sampling": options,
            "dtype": sampler.precision_name,
            "wall_s": wall_s,
            # An interrupted run has timed only what was left; a finished one nothing.
            "images_per_s": num_made / wall_s if num_made else None,
            "samples_sha256": sha256_of(samples),
            "prompts_sha256": sha256_of(prompts),
            "origin": origin(code=code, checkpoint_sha256=sha256_of(checkpoint)),
        },
    )
    if not shards:
        array.remove()


def joined(shards, reports, precision_name):
    """The shards' images, one after the other; raises InputError for one that is damaged, or was
    made in another precision than this job would make it in."""
    for path, report in zip(shards, reports, strict=True):
        if report["dtype"] != precision_name:
            raise InputError(
                f"{path} was made in {report['dtype']}, but here sampling.precision is "
                f"{precision_name}: the machines differ; name one there, not auto."
            )
        if sha256_of(path) != report["images_sha256"]:
            raise InputError(f"{path} is damaged (its sha256 differs); delete it to make it anew.")
    return np.concatenate([np.load(path, mmap_mode="r", allow_pickle=False) for path in shards])


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
