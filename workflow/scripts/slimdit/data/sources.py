"""Where a study's images are: class folders, or a saved dataset.

A source has `classes()`, the names of the images of each class, `read(name)`, their bytes, and
`left_out`, a sentence on files that may be images but are none of them.
"""

import functools
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.class_names import is_plain
from slimdit.data.hf_dataset import SavedDataset, is_dataset
from slimdit.data.image_files import list_images, other_layout

RIGHT = "one folder of images a class"


class ImageFolder:
    """Images as files of class folders, `<root>/<class>/*`: a name is a path below the root."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.left_out = ""  # until they are listed

    def classes(self) -> dict[str, list[str]]:
        """Images of every class folder, both in order.

        Raises InputError when there are no images, and for folders that cannot be read or named.
        """
        try:
            found = list_images(self.root)
            if wrong := other_layout(self.root, found, RIGHT):
                raise InputError(wrong)
        except InputError as error:
            raise InputError(f"data.images: {error}") from None
        for name, images in found.classes.items():
            if images and not is_plain(name):
                raise InputError(
                    f"data.images: the class folder {name!r} of {self.root} does not have a name "
                    "in UTF-8 on one line; rename it."
                )
        self.left_out = found.left_out
        return found.classes

    def read(self, name: str) -> bytes:
        """Raises OSError."""
        return (self.root / name).read_bytes()


@functools.cache
def image_source(root: str | Path) -> ImageFolder | SavedDataset:
    """What `data.images` names; raises InputError when it is no folder or a dataset that cannot
    be used."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"data.images: {root} is not a folder; it should hold {RIGHT}, or be a saved dataset."
        )
    return SavedDataset(root) if is_dataset(root) else ImageFolder(root)
