"""Cut the embedded study's image folder from photographs that two Python packages carry."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from slimdit.errors import InputError
from slimdit.files import sha256_of, write_json
from slimdit.made_folders import atomic_folder, check_replaceable
from slimdit.progress import Progress
from slimdit.provenance import conditions
from slimdit.randomness import stream

MOST_DRAWS = 1000  # for a crop that there is none like yet

log = logging.getLogger(__name__)


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


def cut_photos(images, cut, photos, seed, code):
    """photos: {"names", "crops_per_photo", "crop_size", "min_side", "max_side"}, sides in
    fractions of the photograph's central square; one class a photograph. `cut` (.json) says by
    digest what `images` holds.

    Raises InputError for names of no photograph, and where `images` is a folder of someone else.
    """
    photos = json.loads(photos)
    check_replaceable(images, "data.images")
    digests = {}
    size, num_crops = photos["crop_size"], len(photos["names"]) * photos["crops_per_photo"]
    with atomic_folder(images) as root, Progress(num_crops, "cut photos", "crop") as bar:
        for name in photos["names"]:
            picture = photograph(name)
            folder = root / name
            folder.mkdir()
            for index, box in enumerate(crop_boxes(name, picture.size, photos, seed)):
                crop = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
                path = folder / f"{index:04d}.png"
                crop.save(path, compress_level=1)
                digests[f"{name}/{path.name}"] = sha256_of(path)
                bar.update()
    origin = conditions(code=code, seed=seed, photos=photos)
    write_json(cut, {"images_sha256": digests, "origin": origin})
    log.info("%d photographs cut", len(photos["names"]))


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


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        cut_photos(**snakemake.params, **snakemake.output)
