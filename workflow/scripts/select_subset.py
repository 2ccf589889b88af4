"""Draw classes, images and their roles from class folders or a saved dataset."""

import logging
from pathlib import Path

from slimdit.data.class_names import labels_of
from slimdit.data.draw import (
    BAD_COLUMNS,
    COLUMNS,
    assign_roles,
    check_sizes,
    draw_orders,
    least_images,
    refuse_bad,
    take_images,
)
from slimdit.data.sources import image_source
from slimdit.storage.files import write_csv

log = logging.getLogger(__name__)


def select_subset(
    subset, bad_images, images_root, data, state, recipe, prompts=(), images=None, cut=None
):
    """Write the rows of the images that are drawn, and which ones could not be used and why.

    state: a folder where the latter are listed also when this ends in an error, and progress is.
    prompts: classes that will be sampled, to be refused before anything trains if not drawn.
    """
    source = image_source(images_root)
    num_per_class = data["held_out_per_class"] + data["max_images_per_class"]
    orders = draw_orders(source.classes(), data, source.left_out)
    if source.left_out:
        log.warning("data.images: %s", source.left_out)
    labels_of(prompts, list(orders))
    taken, bad = take_images(orders, num_per_class, source, data["bad_images"] == "skip", state)
    report = Path(state) / "bad_images.csv"
    write_csv(report, BAD_COLUMNS, bad)
    num_taken = sum(map(len, taken.values()))
    if bad and data["bad_images"] == "refuse":
        refuse_bad(bad, num_taken + len(bad), report)
    check_sizes(taken, least_images(data), report)
    write_csv(bad_images, BAD_COLUMNS, bad)
    write_csv(subset, COLUMNS, assign_roles(taken, data))
    log.info("%d images of %d classes, %d bad ones skipped", num_taken, len(taken), len(bad))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        select_subset(**snakemake.input, **snakemake.params, **snakemake.output)
