"""Sets of images from anywhere: an .npz as OpenAI's evaluator reads, or a folder of image files.

Everything that can be wrong with them is found here, before anything is computed.
"""

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.data.image_files import list_images, other_layout
from slimdit.data.images import load_image
from slimdit.evaluation.features import EXTRACTORS
from slimdit.evaluation.metrics.frechet import checked_statistics
from slimdit.jobs.progress import Progress
from slimdit.storage.files import load_npz, sha256_of

log = logging.getLogger(__name__)
RIGHT = "images, or one folder of them a class"
IMAGES, LABELS = "arr_0", "arr_1"
# Mean and covariance of the images' features, by kind of feature.
STATISTICS = {"pooled": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}


class ImageSet(NamedTuple):
    """Checked images uint8 (N, H, W, 3), and perhaps labels (N,) and statistics of features.

    statistics: kind of feature -> mean (D,) and covariance (D, D). images is None where the file
    has statistics alone.
    """

    path: Path
    sha256: str
    images: np.ndarray | None
    labels: np.ndarray | None
    statistics: dict[str, tuple[np.ndarray, np.ndarray]]

    def describe(self) -> dict:
        """The set as JSON values."""
        has_images = self.images is not None
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "num_images": len(self.images) if has_images else None,
            "image_size": list(self.images.shape[1:3]) if has_images else None,
            "has_labels": self.labels is not None,
            "statistics_of": sorted(self.statistics),
        }


def read_image_set(
    path: str | Path, image_size: int | None = None, statistics_suffice: bool = False
) -> ImageSet:
    """Read an .npz, or a folder, flat or `<root>/<class>/*`, whose images `image_size` crops.

    An .npz has arr_0, the images; perhaps arr_1, labels if they are integers, one for each image;
    perhaps mu and sigma, mu_s and sigma_s. Without arr_0 it is refused unless `statistics_suffice`
    and it has some. A folder's sha256 is that of its files' names and digests, in order of name;
    its class folders are its labels. Raises InputError for all that is not so, and fewer than 2
    images.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, image_size)
    arrays = load_npz(path)
    statistics = statistics_of(arrays, path)
    images = labels = None
    if IMAGES in arrays or not (statistics and statistics_suffice):
        images, labels = checked_images(_array(arrays, IMAGES, path), path), arrays.get(LABELS)
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != (len(images),)):
        labels = None
    return ImageSet(path, sha256_of(path), images, labels, statistics)


def statistics_of(arrays: dict[str, np.ndarray], path: Path) -> dict[str, tuple]:
    """Kind of feature -> mean (D,) and covariance (D, D), of those that the arrays of `path` hold.

    Raises InputError for one without the other.
    """
    return {
        kind: checked_statistics(
            *(_array(arrays, name, path) for name in pair), *(f"{name} of {path}" for name in pair)
        )
        for kind, pair in STATISTICS.items()
        if arrays.keys() & set(pair)
    }


def reference_statistics(path: str | Path, extractor: dict, image_size: int) -> dict[str, tuple]:
    """Those of an .npz, as `statistics_of` gives them.

    extractor: {"name", **options}. Raises InputError where there are none, or where they are not of
    as many features as the extractor has of images with a side of `image_size` pixels.
    """
    names = [name for pair in STATISTICS.values() for name in pair]
    found = statistics_of(load_npz(path, names), Path(path))
    if not found:
        raise InputError(
            f"{path} has none of {', '.join(names)}; it should have mu and sigma of a reference's "
            "pooled features."
        )
    options = dict(extractor)
    name = options.pop("name")
    dims = EXTRACTORS[name].feature_dims(image_size, **options)
    for kind, number in zip(STATISTICS, dims, strict=True):
        if kind in found and len(found[kind][0]) != number:
            raise InputError(
                f"{path} has statistics of {len(found[kind][0])} {kind} features and {name} has "
                f"{number}; name the extractor that they come from as evaluation.extractor."
            )
    return found


def checked_images(array: np.ndarray, path: str | Path) -> np.ndarray:
    """`array`, which is arr_0 of `path`; raises InputError unless it is images uint8 (N, H, W, 3),
    two or more."""
    shape, hint = array.shape, ""
    if array.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape[1:]:
        if array.dtype.kind == "f":
            hint = ": multiply values in [0, 1] by 255, round them and convert them"
        elif len(shape) == 4 and shape[1] == 3:
            hint = f": transpose it by {IMAGES}.transpose(0, 2, 3, 1)"
        raise InputError(
            f"{IMAGES} of {path} is {array.dtype} of shape {shape}; "
            f"it should be uint8 of shape (number, height, width, 3){hint}."
        )
    if len(array) < 2:
        raise InputError(f"{path} has {len(array)} images; it should have at least 2.")
    return array


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        held = ", ".join(sorted(arrays)) or "no arrays"
        raise InputError(f"{path} has no {name}; it has {held}, and should have it too.")
    return arrays[name]


def _read_folder(root: Path, image_size: int | None) -> ImageSet:
    names, labels = _list_images(root)
    images = None
    with Progress(len(names), f"images of {root}", unit="images") as progress:
        for i, name in enumerate(names):
            image = load_image(root / name, image_size)  # (H, W, 3)
            if images is None:
                images = np.empty((len(names), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                (height, width, _), (first_height, first_width) = image.shape, images.shape[1:3]
                raise InputError(
                    f"{root / name} is {width}x{height} pixels and {root / names[0]} is "
                    f"{first_width}x{first_height}; they should be of one size, or be cropped to "
                    "one by --image-size."
                )
            images[i] = image
            progress.update()
    digests = [[name, sha256_of(root / name)] for name in names]
    sha256 = hashlib.sha256(canonical_json(digests).encode()).hexdigest()
    return ImageSet(root, sha256, checked_images(images, root), labels, {})


def _list_images(root: Path) -> tuple[list[str], np.ndarray | None]:
    """Names of the images relative to `root`, in order, and the labels (N,) of class folders."""
    found = list_images(root)
    nested = [name for images in found.classes.values() for name in images]
    if found.loose and nested:
        raise InputError(
            f"{root} has both {found.loose[0]} and {nested[0]}; it should hold {RIGHT}."
        )
    if not found.loose and (wrong := other_layout(root, found, RIGHT, True)):
        raise InputError(wrong)
    if found.left_out:
        log.warning("%s: %s", root, found.left_out)
    classes = [name.split("/")[0] for name in nested]
    return found.loose or nested, np.unique(classes, return_inverse=True)[1] if nested else None
