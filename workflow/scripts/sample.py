"""Sample a run's images: the set that is evaluated, the named prompts, and a grid to look at."""

import numpy as np

from slimdit.data.class_names import labels_of
from slimdit.diffusion.sample_files import joined, write_grid
from slimdit.storage.files import read_json, sha256_of, write_json, write_npz

NUM_PROMPTS = 8  # the first classes, where none are named


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
    recipe,
    guide=None,
    cache=None,
    weights=None,
    model_config=None,
    shards=(),
    shard_reports=(),
):
    """sampling: what `ImageSampler` takes, and "prompts". Set 0 is what `samples` holds as arr_0;
    further sets are in `other_sets` (num_sets - 1, N, H, W, 3).

    shards: arrays of `sample_shard` and their reports, in order; without any, all is made here.
    """
    from slimdit.diffusion.image_sampler import ImageSampler
    from slimdit.jobs.provenance import origin

    sampler = ImageSampler(
        checkpoint, latents_manifest, sampling, num_timesteps, source, revision, guide, cache
    )
    manifest, labels = sampler.manifest, sampler.labels
    classes = manifest["classes"]
    prompt_labels = labels_of(sampling["prompts"] or classes[:NUM_PROMPTS], classes)
    if shards:
        made = [read_json(path) for path in shard_reports]
        images = joined(shards, made, sampler.precision_name)
        num_made, wall_s = (sum(one[key] for one in made) for key in ("num_made", "wall_s"))
    else:
        array, num_made, wall_s = sampler.array(state, recipe, range(sampler.num_images))
        images = array.values

    sets = images.reshape(sampling["num_sets"], len(labels), *images.shape[1:])
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
            "sampling": sampling,
            "dtype": sampler.precision_name,
            "wall_s": wall_s,
            # An interrupted run has timed only what was left; a finished one nothing.
            "images_per_s": num_made / wall_s if num_made else None,
            "origin": origin(
                at=report,
                recipe=recipe,
                inputs=sampler.inputs | ({weights: sha256_of(weights)} if weights else {}),
                outputs={path: sha256_of(path) for path in (samples, prompts, grid)},
            ),
        },
    )
    if not shards:
        array.remove()


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        sample(**snakemake.input, **snakemake.params, **snakemake.output)
