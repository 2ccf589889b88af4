"""Draw classes, images and their roles from an image folder `<root>/<class>/*`."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slimdit.errors import InputError
from slimdit.files import sha256_of, write_csv
from slimdit.images import EXTENSIONS
from slimdit.progress import Progress
from slimdit.randomness import stream

COLUMNS = ["path", "class", "label", "split", "reference", "sha256"]


def class_folders(root: Path) -> dict[str, list[str]]:
    """Image files of every class folder, both in order; raises InputError when there are none."""
    if not root.is_dir():
        raise InputError(
            f"data.images: {root} is not a folder; it should hold one folder of images a class."
        )
    folders = {
        entry.name: sorted(
            file.name
            for file in os.scandir(entry.path)
            if Path(file.name).suffix.lower() in EXTENSIONS and file.is_file()
        )
        for entry in os.scandir(root)
        if entry.is_dir()
    }
    if not any(folders.values()):
        raise InputError(
            f"data.images: {root} has no images; it should hold one folder of images a class."
        )
    return dict(sorted(folders.items()))


def draw_subset(folders: dict[str, list[str]], data: dict) -> list[dict]:
    """Rows of the subset, without hashes: classes in alphabetical order, images in drawn order.

    Of each class: held_out_per_class images that nothing trains on, then at most
    max_images_per_class to train on, reference_per_class of which are the reference.
    """
    seed, held_out = data["seed"], data["held_out_per_class"]
    least = max(data["min_images_per_class"], data["reference_per_class"]) + held_out
    eligible = [name for name, files in folders.items() if len(files) >= least]
    missing = [name for name in data["classes"] or [] if name not in eligible]
    if missing:
        raise InputError(
            f"data.classes: {missing[0]!r} is no class folder with at least {least} images."
        )
    if not data["classes"] and len(eligible) < data["num_classes"]:
        raise InputError(
            f"data.num_classes is {data['num_classes']}, but only {len(eligible)} of "
            f"{len(folders)} class folders hold at least {least} images "
            "(data.min_images_per_class and data.held_out_per_class)."
        )
    drawn = stream(seed, "classes").permutation(len(eligible))[: data["num_classes"]]
    classes = data["classes"] or sorted(eligible[i] for i in drawn)
    if len(classes) != data["num_classes"]:
        raise InputError(
            f"data.classes lists {len(classes)} classes, but data.num_classes is "
            f"{data['num_classes']}."
        )
    rows = []
    for label, name in enumerate(classes):
        files = folders[name]
        order = stream(seed, f"images/{name}").permutation(len(files))
        order = order[: held_out + data["max_images_per_class"]]
        for position, index in enumerate(order):
            trained_on = position - held_out
            rows.append(
                {
                    "path": f"{name}/{files[index]}",
                    "class": name,
                    "label": label,
                    "split": "train" if trained_on >= 0 else "held_out",
                    "reference": int(0 <= trained_on < data["reference_per_class"]),
                }
            )
    return rows


def select_subset(subset, images_root, data, cut, code, images=None):
    root = Path(images_root)
    rows = draw_subset(class_folders(root), json.loads(data))
    paths = [root / row["path"] for row in rows]
    with (
        Progress(len(paths), "hash images", "image") as progress,
        ThreadPoolExecutor() as pool,
    ):
        for row, digest in zip(rows, pool.map(sha256_of, paths), strict=True):
            row["sha256"] = digest
            progress.update()
    write_csv(subset, COLUMNS, rows)


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        select_subset(**snakemake.input, **snakemake.params, **snakemake.output)
