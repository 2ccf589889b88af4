"""The images of a subset, as they were when it was selected."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from slimdit.core.errors import InputError
from slimdit.data.images import image_array
from slimdit.data.sources import image_source
from slimdit.jobs.progress import Progress


def read_image(row: dict[str, str], images_root: str | Path, image_size: int) -> np.ndarray:
    """The image of one row of subset.csv as uint8 (image_size, image_size, 3).

    Raises InputError when it is gone or has other bytes than those that were selected.
    """
    path = Path(images_root) / row["path"]
    try:
        content = image_source(images_root).read(row["path"])
    except OSError as error:
        raise _changed(path, error.strerror) from None
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise _changed(path, "its sha256 differs")
    return image_array(content, image_size, path)


def _changed(path: Path, how: str) -> InputError:
    return InputError(
        f"{path} is not the image that was selected ({how}); restore it, or delete the study's "
        "data/subset.csv to select anew."
    )


def compared_rows(rows: list[dict]) -> dict[str, list[dict]]:
    """What samples are compared with: the `reference`, and the `held_out` images."""
    return {
        "reference": [row for row in rows if row["reference"] == "1"],
        "held_out": [row for row in rows if row["split"] == "held_out"],
    }


def other_training_rows(rows: list[dict], memorization_per_class: int) -> list[dict]:
    """Training images besides the reference, which bring each class to `memorization_per_class`."""
    chosen, num_of_class = [], Counter(row["label"] for row in rows if row["reference"] == "1")
    for row in rows:
        is_other = row["split"] == "train" and row["reference"] != "1"
        if is_other and num_of_class[row["label"]] < memorization_per_class:
            num_of_class[row["label"]] += 1
            chosen.append(row)
    return chosen


def read_images(rows: list[dict], images_root, image_size: int, name: str, state) -> np.ndarray:
    """The images of `rows` as uint8 (N, H, W, 3); raises InputError for one that has changed."""
    images = np.empty((len(rows), image_size, image_size, 3), dtype=np.uint8)
    with Progress(len(rows), f"{name} images", unit="images", state=state) as progress:
        for i, row in enumerate(rows):
            images[i] = read_image(row, images_root, image_size)
            progress.update()
    return images
