"""Where a study's images are: class folders, or a saved dataset.

A source has `classes()`, the names of the images of each class, and `read(name)`, their bytes.
"""

import functools
import os
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.hf_dataset import SavedDataset, is_dataset
from slimdit.data.images import EXTENSIONS


class ImageFolder:
    """Images as files of class folders, `<root>/<class>/*`: a name is a path below the root."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def classes(self) -> dict[str, list[str]]:
        """Images of every class folder, both in order; hidden files and folders are none.

        Raises InputError when there are no images.
        """
        folders = {
            name: [f"{name}/{image}" for image in visible(self.root / name) if is_image_name(image)]
            for name in visible(self.root)
            if (self.root / name).is_dir()
        }
        if not any(folders.values()):
            raise InputError(
                f"data.images: {self.root} has no images; it should hold one folder of images a "
                "class, as the folder train of ImageNet does."
            )
        return folders

    def read(self, name: str) -> bytes:
        """Raises OSError."""
        return (self.root / name).read_bytes()


def visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


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
