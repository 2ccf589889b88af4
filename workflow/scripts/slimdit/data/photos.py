"""Photographs that installed Python packages carry, and crops of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream

MOST_DRAWS = 1000  # for a crop that there is none like yet


def photograph(name: str) -> Image.Image:
    """The photograph of that name in scikit-image's or scikit-learn's package data, as RGB."""
    import skimage
    import sklearn

    folders = (
        Path(skimage.__file__).parent / "data",
        Path(sklearn.__file__).parent / "datasets" / "images",
    )
    for folder in folders:
        for path in sorted(folder.glob(f"{name}.*")):
            with Image.open(path) as image:
                return image.convert("RGB")
    raise InputError(
        f"data.photos.names: {name!r} is no photograph in {folders[0]} or {folders[1]}."
    )


def crop_boxes(name: str, picture_size: tuple[int, int], photos, seed: int) -> Iterator[tuple]:
    """The boxes of a photograph's crops, no two alike: an image is trained on or held out."""
    seen = set()
    for index in range(photos["crops_per_photo"]):
        random = stream(seed, f"crop/{name}", index)
        boxes = (crop_box(picture_size, photos, random) for _ in range(MOST_DRAWS))
        box = next((box for box in boxes if box not in seen), None)
        if box is None:
            raise InputError(
                f"data.photos: {name} has too few different crops for crops_per_photo "
                f"{photos['crops_per_photo']}; ask for fewer, or a lower min_side."
            )
        seen.add(box)
        yield box


def crop_box(picture_size, photos, random: np.random.Generator) -> tuple[int, int, int, int]:
    """A square at a random place within the central square: left, top, right, bottom."""
    width, height = picture_size
    square = min(width, height)
    side = int(square * random.uniform(photos["min_side"], photos["max_side"]))
    left, top = random.integers(0, square - side + 1, 2)
    left, top = int(left) + (width - square) // 2, int(top) + (height - square) // 2
    return left, top, left + side, top + side
