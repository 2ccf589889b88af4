"""Where a study's images are: class folders, or a saved dataset.

A source has `classes()`, the names of the images of each class, and `read(name)`, their bytes.
"""

import functools
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.hf_dataset import SavedDataset, is_dataset
from slimdit.data.image_folder import ImageFolder


@functools.cache
def image_source(root: str | Path) -> ImageFolder | SavedDataset:
    """What `data.images` names; raises InputError when it is no folder or a dataset that cannot
    be used."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"data.images: {root} is not a folder; it should hold one folder of images a class, "
            "or be a saved dataset."
        )
    return SavedDataset(root) if is_dataset(root) else ImageFolder(root)
