"""How the sampling of a run is shared out among jobs: shard "2-of-8" is the second of eight."""

from pathlib import Path

from slimdit.storage.files import read_json
from slimdit.study.study import Study


def shard_names(study: Study, variant: str, seed: int | str, wanted: int) -> list[str]:
    """The shards that a run's samples are put together from: none where one job makes them all.

    wanted: how many there should be. Samples that are there keep the number that they were made
    in: another one is no reason to rerun. Raises InputError where their report is damaged.
    """
    made = Path(study.layout.run("samples.json", variant, seed))
    count = read_json(made).get("num_shards", 1) if made.exists() else wanted
    num_batches = -(-study.num_sampled(variant) // study.sampling(variant)["batch_size"])
    count = min(count, num_batches)
    return [f"{position}-of-{count}" for position in range(1, count + 1)] if count > 1 else []


def rows_of_shard(shard: str, num_images: int, batch_size: int) -> range:
    """The images of a shard: whole batches, so that each image is made beside the same ones as
    where there are no shards, and comes out to the same bits."""
    position, count = map(int, shard.split("-of-"))
    num_batches = -(-num_images // batch_size)
    first, end = (num_batches * part // count * batch_size for part in (position - 1, position))
    return range(first, min(end, num_images))
