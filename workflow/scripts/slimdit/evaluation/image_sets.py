"""Sets of images from anywhere: an .npz as OpenAI's evaluator reads, or a folder of image files.

Everything that can be wrong with them is found here, before anything is computed. Images are not
held in memory: they are mapped from the .npz, or from a temporary file where it is compressed or
they are files of their own.
"""

import collections
import hashlib
import math
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.data.images import EXTENSIONS, load_image
from slimdit.evaluation.metrics.frechet import ASYMMETRY
from slimdit.jobs.progress import Progress
from slimdit.storage.files import sha256_of

IMAGES, LABELS = "arr_0", "arr_1"
# Mean and covariance of the images' features, by kind of feature.
STATISTICS = {"pooled": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}
UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
BLOCK_BYTES = 1 << 20
LOCAL_HEADER_BYTES = 30  # of a zip member, before its name


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
    if not path.exists():
        raise InputError(f"{path} does not exist; it should be an .npz file or a folder of images.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(path, archive, statistics_suffice)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as an .npz file of plain arrays ({error}); "
            "make or download it again."
        ) from None


def checked_images(array: np.ndarray, path: str | Path) -> np.ndarray:
    """`array`, which is arr_0 of `path`; raises InputError for no images uint8 (N, H, W, 3)."""
    _check_layout(array.dtype, array.shape, path)
    return array


def _check_layout(dtype: np.dtype, shape: tuple[int, ...], path: str | Path) -> None:
    right = "it should be uint8 of shape (number, height, width, 3)"
    found = f"{IMAGES} of {path} is {dtype} of shape {shape}"
    if dtype.hasobject:
        raise InputError(f"{found}, which would have to be unpickled; {right}.")
    if dtype.kind == "f":
        raise InputError(
            f"{found}; it should be uint8: multiply values in [0, 1] by 255, "
            "round them and convert them to uint8."
        )
    if dtype != np.uint8:
        raise InputError(f"{found}; {right}, values 0 to 255.")
    if len(shape) == 4 and shape[1] == 3 and shape[-1] != 3:
        raise InputError(f"{found}; {right}: transpose it by {IMAGES}.transpose(0, 2, 3, 1).")
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape[1:]:
        raise InputError(f"{found}; {right}.")
    if shape[0] < 2:
        raise InputError(f"{path} has {shape[0]} images; it should have at least 2.")


def _read_archive(path: Path, archive: zipfile.ZipFile, statistics_suffice: bool) -> ImageSet:
    names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    statistics = {
        kind: _read_statistics(path, archive, pair, names)
        for kind, pair in STATISTICS.items()
        if names.intersection(pair)
    }
    images = labels = None
    if IMAGES in names:
        images = _map_images(path, archive)
        if LABELS in names:
            found = _read_array(archive, LABELS)
            labels = found if found.dtype.kind in "iu" and found.shape == (len(images),) else None
    elif not (statistics and statistics_suffice):
        held = ", ".join(sorted(names)) or "no arrays"
        raise InputError(
            f"{path} has no {IMAGES} (it has {held}); "
            f"{IMAGES} should be the images, uint8 of shape (number, height, width, 3)."
        )
    return ImageSet(path, sha256_of(path), images, labels, statistics)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_statistics(path, archive, pair: tuple[str, str], names: set[str]):
    """Mean (D,) and covariance (D, D) in float64."""
    for name in pair:
        if name not in names:
            raise InputError(f"{path} has {' or '.join(pair)} alone; it should have both.")
    mean, covariance = (_read_array(archive, name) for name in pair)
    for name, values in zip(pair, (mean, covariance), strict=True):
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise InputError(
                f"{name} of {path} should be finite floating-point numbers; it is not."
            )
    if mean.ndim != 1 or not len(mean) or covariance.shape != 2 * mean.shape:
        raise InputError(
            f"{pair[0]} of {path} has shape {mean.shape} and {pair[1]} {covariance.shape}; "
            "they should be (features,) and (features, features)."
        )
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if np.abs(covariance - covariance.T).max() > ASYMMETRY * np.abs(covariance).max():
        raise InputError(f"{pair[1]} of {path} differs from its transpose; it should be symmetric.")
    return mean, covariance


def _map_images(path: Path, archive: zipfile.ZipFile) -> np.ndarray:
    """arr_0, checked to its last byte, mapped from `path` or from a copy without compression."""
    member = archive.getinfo(f"{IMAGES}.npy")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise InputError(
                f"{IMAGES} of {path} has the format {version}; write it by numpy.savez."
            )
        read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, is_fortran, dtype = read_header(file)
        _check_layout(dtype, shape, path)
        start = file.tell()
        if member.file_size - start != math.prod(shape):
            raise InputError(
                f"{IMAGES} of {path} has {member.file_size - start} bytes; its shape {shape} "
                f"should have {math.prod(shape)}."
            )
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")  # the last one meets the checksum
        if member.compress_type == zipfile.ZIP_STORED:
            collections.deque(blocks, maxlen=0)
            source, start = path, start + _start_of(path, member)
        else:
            source, start = _temporary_file(path, blocks), 0
    order = "F" if is_fortran else "C"
    return np.memmap(source, np.uint8, mode="c", offset=start, shape=shape, order=order)


def _start_of(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the data of an uncompressed member start in the file."""
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(LOCAL_HEADER_BYTES)[26:])
    return member.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def _read_folder(root: Path, image_size: int | None) -> ImageSet:
    names, labels = _list_images(root)
    if len(names) < 2:
        raise InputError(f"{root} has {len(names)} images; it should have at least 2.")
    paths = [root / name for name in names]
    height, width, _ = load_image(paths[0], image_size).shape
    shape = (len(paths), height, width, 3)
    file = _temporary_file(root, _pixels(paths, image_size, (width, height)))
    images = np.memmap(file, np.uint8, mode="c", shape=shape)
    digests = [[name, sha256_of(root / name)] for name in names]
    sha256 = hashlib.sha256(canonical_json(digests).encode()).hexdigest()
    return ImageSet(root, sha256, images, labels, {})


def _list_images(root: Path) -> tuple[list[str], np.ndarray | None]:
    """Names of the images relative to `root`, in order, and the labels (N,) of class folders."""
    flat, nested = (
        sorted(
            path.relative_to(root).as_posix()
            for path in root.glob(pattern)
            if path.suffix.lower() in EXTENSIONS
            and path.is_file()
            and not path.name.startswith(".")
        )
        for pattern in ("*", "*/*")
    )
    if flat and nested:
        raise InputError(
            f"{root} has images both in it ({flat[0]}) and in its folders ({nested[0]}); "
            "it should be flat or have one folder a class."
        )
    if not flat and not nested:
        raise InputError(
            f"{root} has no images; it should hold images ({', '.join(sorted(EXTENSIONS))}), "
            "or one folder of them a class."
        )
    classes = [name.split("/")[0] for name in nested]
    return flat or nested, np.unique(classes, return_inverse=True)[1] if nested else None


def _pixels(paths: list[Path], image_size: int | None, size: tuple[int, int]) -> Iterator[bytes]:
    with Progress(len(paths), f"images of {paths[0].parent}", unit="images") as progress:
        for path in paths:
            image = load_image(path, image_size)  # (H, W, 3)
            height, width, _ = image.shape
            if (width, height) != size:
                raise InputError(
                    f"{path} is {width}x{height} pixels and {paths[0]} is {size[0]}x{size[1]}; "
                    "they should be of one size, or be cropped to one by --image-size."
                )
            yield image.tobytes()
            progress.update()


def _temporary_file(path: Path, parts: Iterable[bytes]):
    """A nameless file of `parts`, which are from `path`."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    for part in parts:
        try:
            file.write(part)
            file.flush()
        except OSError as error:
            raise InputError(
                f"{path} cannot be copied to {tempfile.gettempdir()} ({error}); "
                "set TMPDIR to a folder with more space."
            ) from None
    return file
