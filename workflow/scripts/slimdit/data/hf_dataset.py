"""Images as rows of a dataset of Hugging Face's package `datasets`, saved on this machine."""

import errno
import os
import re
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.class_names import is_plain
from slimdit.storage.files import read_json

SPLITS = "dataset_dict.json"  # what DatasetDict.save_to_disk writes
SAVED = ("dataset_info.json", "state.json")  # and Dataset.save_to_disk
ROW = "row-"
TEXT = ("string", "large_string")
NO_ACCESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
GONE = {errno.ENOENT, errno.ENOTDIR}
NO_SPACE = "Not enough disk space"  # in the words of the package
SPLIT_NAMES = {"train", "training", "validation", "valid", "val", "dev"}
SPLIT_NAMES |= {"test", "testing", "eval", "evaluation"}


def is_dataset(root: Path) -> bool:
    files = (SPLITS, *SAVED)
    return any((root / name).is_file() for name in files) or any(root.glob("*.parquet"))


class SavedDataset:
    """An image's name is `row-<number>`, from 0; its bytes are those that the dataset holds.

    root: what Dataset.save_to_disk wrote, or a folder of parquet files as the hub has them, which
    `datasets` copies into its cache. Raises InputError when it is neither, holds several splits,
    or has not one column of images and one of labels, and where `datasets` is not installed.
    """

    left_out = ""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        try:
            import datasets
        except ImportError:
            raise InputError(
                f"data.images: {root} is a dataset of the package datasets, which is not "
                "installed; install requirements-datasets.txt."
            ) from None
        dataset = load(self.root, datasets)
        features = dataset.features
        images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        texts = [name for name, kind in features.items() if getattr(kind, "dtype", None) in TEXT]
        self.image = the_only(images, "Image", self.root, features)
        self.label = the_only(labels or texts, "ClassLabel or text", self.root, features)
        dataset = dataset.select_columns([self.image, self.label])
        self.dataset = dataset.cast_column(self.image, datasets.Image(decode=False))

    def classes(self) -> dict[str, list[str]]:
        """Images of every class in the order of their rows, classes in order; those without a
        label are of none."""
        labels, feature = self.dataset[self.label][:], self.dataset.features[self.label]
        names = getattr(feature, "names", None)
        classes = {name: [] for name in names or sorted({x for x in labels if x is not None})}
        for row, label in enumerate(labels):
            if label is not None and (names is None or label >= 0):
                classes[names[label] if names else label].append(f"{ROW}{row}")
        for name in classes:
            if not is_plain(name):
                raise InputError(
                    f"data.images: the class {name!r} of {self.root} does not have a name on one "
                    "line; rename it."
                )
        return dict(sorted(classes.items()))

    def read(self, name: str) -> bytes:
        """Raises OSError."""
        row = name.removeprefix(ROW)
        if not row.isdecimal() or int(row) >= len(self.dataset):
            raise FileNotFoundError(errno.ENOENT, f"there are {len(self.dataset)} rows")
        image = self.dataset[int(row)][self.image] or {}
        if image.get("bytes") is None and image.get("path"):
            return Path(image["path"]).read_bytes()
        return image.get("bytes") or b""


def load(root: Path, datasets):
    if (root / SPLITS).is_file():
        splits = read_json(root / SPLITS).get("splits", [])
        raise InputError(
            f"data.images: {root} holds the splits {', '.join(splits)}; name the folder of one, "
            f"such as {root / next(iter(splits), 'train')}."
        )
    is_saved = all((root / name).is_file() for name in SAVED)
    files = [] if is_saved else parquet_files(root)
    try:
        if is_saved:
            return datasets.load_from_disk(str(root))
        return datasets.Dataset.from_parquet(files)
    except Exception as error:  # whatever the package stumbles over in damaged files
        raise InputError(
            access_problem(error, root, datasets.config.HF_DATASETS_CACHE)
            or f"data.images: {root} cannot be read as a dataset ({error}); save it again by "
            "Dataset.save_to_disk."
        ) from None


def access_problem(error: BaseException | None, root: Path, cache: str | Path) -> str | None:
    """A sentence on a disk that is full, read-only or not there, where that is behind the error:
    the files may be sound."""
    while error:
        if isinstance(error, OSError):
            place = Path(os.path.abspath(str(error.filename)))
            is_ours = place.is_relative_to(os.path.abspath(root))
            if is_ours and error.errno in NO_ACCESS:
                return (
                    f"data.images: {error.filename} cannot be read ({error.strerror}); "
                    "mend its permissions."
                )
            is_gone = error.errno in GONE and error.filename and not is_ours
            if is_gone or error.errno in NO_ACCESS or NO_SPACE in str(error):
                return (
                    f"data.images: {root} cannot be copied to {cache}, the cache of the package "
                    f"datasets ({error.strerror or error}); set HF_HOME to a folder with room "
                    "for it."
                )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def parquet_files(root: Path) -> list[str]:
    """Files of one split, such as train-00000-of-00042.parquet or 0000.parquet of a folder of it;
    raises InputError for several, by their usual names."""
    files = sorted(root.glob("*.parquet"))
    if not files:
        raise InputError(
            f"data.images: {root} has not both of {' and '.join(SAVED)}; save it again by "
            "Dataset.save_to_disk."
        )
    words = {word for path in files for word in re.split(r"[^a-z]+", path.stem.lower())}
    splits = sorted(words & SPLIT_NAMES)
    if len(splits) > 1:
        raise InputError(
            f"data.images: {root} holds parquet files of several splits ({', '.join(splits)}); "
            "put those of one into a folder of their own."
        )
    return [str(path) for path in files]


def the_only(columns: list[str], kind: str, root: Path, features) -> str:
    if len(columns) != 1:
        has = ", ".join(f"{name}: {type(feature).__name__}" for name, feature in features.items())
        raise InputError(
            f"data.images: {root} has {len(columns) or 'no'} columns of {kind} ({has}); it should "
            "have one: Dataset.select_columns leaves others out, cast_column says what one holds."
        )
    return columns[0]
