"""Where a study's images are: class folders, or a saved dataset.

A source has `classes()`, the names of the images of each class, and `read(name)`, their bytes.
"""

import functools
import os
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.class_names import is_plain, printable
from slimdit.data.hf_dataset import SavedDataset, is_dataset
from slimdit.data.images import EXTENSIONS


class ImageFolder:
    """Images as files of class folders, `<root>/<class>/*`: a name is a path below the root."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def classes(self) -> dict[str, list[str]]:
        """Images of every class folder, both in order; hidden files and folders are none.

        Raises InputError when there are no images, and for folders that cannot be read or named.
        """
        folders = {}
        for entry in visible(self.root):
            if not os.path.exists(entry.path):  # what is missing may be a class
                raise InputError(
                    f"data.images: {printable(entry.path)} is a link that leads nowhere; mend or "
                    "remove it."
                )
            if entry.is_dir():
                names = [file.name for file in visible(entry.path) if may_be_image(file)]
                folders[entry.name] = sorted(f"{entry.name}/{name}" for name in names)
        train = self.root / "train"
        if folders.get("train") == [] and any(entry.is_dir() for entry in visible(train)):
            raise InputError(
                f"data.images: {self.root} holds no class folders but the folder train, which "
                f"does; name {train}."
            )
        if not any(folders.values()):
            raise InputError(
                f"data.images: {self.root} has no images; it should hold one folder of images a "
                "class."
            )
        for name, images in folders.items():
            if images and not is_plain(name):
                raise InputError(
                    f"data.images: the class folder {name!r} of {self.root} does not have a name "
                    "in UTF-8 on one line; rename it."
                )
        return dict(sorted(folders.items()))

    def read(self, name: str) -> bytes:
        """Raises OSError."""
        return (self.root / name).read_bytes()


def visible(folder: str | Path) -> list[os.DirEntry]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(
            f"data.images: {printable(str(folder))} cannot be read ({error.strerror}); "
            "make it readable or remove it."
        ) from None


def may_be_image(entry: os.DirEntry) -> bool:
    """By its name; a link that leads nowhere is one, which is found to be bad when it is drawn."""
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
        return False
    is_file = entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)
    return is_file or not os.path.exists(entry.path)


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
