"""Cut the embedded study's image folder from photographs that two Python packages carry."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from slimdit.errors import InputError
from slimdit.progress import Progress
from slimdit.randomness import stream

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


def cut_photos(images, photos, seed, code):
    """photos: {"names", "crops_per_photo", "crop_size", "min_side", "max_side"}, sides in
    fractions of the photograph's central square; one class a photograph."""
    photos = json.loads(photos)
    shutil.rmtree(images, ignore_errors=True)
    size = photos["crop_size"]
    with Progress(len(photos["names"]) * photos["crops_per_photo"], "cut photos", "crop") as bar:
        for name in photos["names"]:
            picture = photograph(name)
            folder = Path(images) / name
            folder.mkdir(parents=True)
            for index in range(photos["crops_per_photo"]):
                box = crop_box(picture.size, photos, stream(seed, f"crop/{name}", index))
                crop = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
                crop.save(folder / f"{index:04d}.png", compress_level=1)
                bar.update()
    log.info("%d photographs cut", len(photos["names"]))


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
