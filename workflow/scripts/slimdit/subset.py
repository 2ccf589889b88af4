"""The images of a subset, as they were when it was selected."""

import hashlib
from pathlib import Path

import numpy as np

from slimdit.errors import InputError
from slimdit.image_sources import image_source
from slimdit.images import image_array


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
