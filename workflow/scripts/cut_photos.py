"""Cut the embedded study's image folder from photographs that two Python packages carry."""

import logging

from PIL import Image

from slimdit.data.photos import crop_boxes, photograph
from slimdit.jobs.progress import Progress
from slimdit.jobs.provenance import conditions
from slimdit.storage.files import sha256_of, write_json
from slimdit.storage.folders import atomic_folder, check_replaceable

log = logging.getLogger(__name__)


def cut_photos(images, cut, photos, photos_seed, recipe):
    """photos: {"names", "crops_per_photo", "crop_size", "min_side", "max_side"}, sides in
    fractions of the photograph's central square; one class a photograph. `cut` (.json) says by
    digest what `images` holds.

    Raises InputError for names of no photograph, and where `images` is a folder of someone else.
    """
    check_replaceable(images, "data.images")
    digests = {}
    size, num_crops = photos["crop_size"], len(photos["names"]) * photos["crops_per_photo"]
    with atomic_folder(images) as root, Progress(num_crops, "cut photos", "crop") as bar:
        for name in photos["names"]:
            picture = photograph(name)
            folder = root / name
            folder.mkdir()
            for index, box in enumerate(crop_boxes(name, picture.size, photos, photos_seed)):
                crop = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
                path = folder / f"{index:04d}.png"
                crop.save(path, compress_level=1)
                digests[f"{name}/{path.name}"] = sha256_of(path)
                bar.update()
    origin = conditions(recipe=recipe)
    write_json(cut, {"images_sha256": digests, "origin": origin})
    log.info("%d photographs cut", len(photos["names"]))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        cut_photos(**snakemake.params, **snakemake.output)
