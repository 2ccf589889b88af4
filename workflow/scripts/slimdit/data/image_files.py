"""Which of a user's files are images: the one listing, for studies and for evaluation."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from slimdit.core.errors import InputError
from slimdit.data.class_names import printable
from slimdit.data.hf_dataset import SPLIT_NAMES, is_dataset

# What systems leave beside a user's files, in lower case; hidden names are none of the user's too.
SYSTEM_NAMES = frozenset(
    {
        *("lost+found", "found.000", "system volume information", "$recycle.bin", "recycler"),
        *("thumbs.db", "desktop.ini", "__macosx", "network trash folder", "temporary items"),
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot"),
        *("__pycache__", "icon\r"),
    }
)
# Pillow opens their files, but they are documents, films, measurements or metadata.
NO_PICTURES = frozenset({"BUFR", "EPS", "FITS", "FLI", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
ENDINGS = frozenset(
    ending
    for ending, kind in Image.registered_extensions().items()
    if kind in Image.OPEN and kind not in NO_PICTURES
)
NUM_TOLD = 5  # kinds of files that are left out
DEEPEST, MOST_LOOKED_AT = 6, 8  # folders below a root, and in each, where images are searched


class ImageFiles(NamedTuple):
    """Names relative to a root, in order: images in it, images of each folder in it, and in words
    which files are neither ("" where there are none)."""

    loose: list[str]
    classes: dict[str, list[str]]
    left_out: str


def list_images(root: str | Path) -> ImageFiles:
    """The images `<root>/*` and `<root>/<class>/*`, with those classes that have none.

    Raises InputError for folders that cannot be read.
    """
    loose, classes, deeper, others = [], {}, [], []
    for entry in visible(root):
        if not os.path.exists(entry.path) and not has_ending(entry.name):
            raise InputError(  # what is missing may be a class
                f"{printable(entry.path)} is a link that leads nowhere; mend or remove it."
            )
        if entry.is_dir():
            classes[entry.name] = []
            for file in visible(entry.path):
                if may_be_image(file):
                    classes[entry.name].append(f"{entry.name}/{file.name}")
                elif not file.is_dir():
                    others.append(f"{entry.name}/{file.name}")
                elif not file.is_symlink():
                    deeper += _images_below(file.path, f"{entry.name}/{file.name}")
        elif may_be_image(entry):
            loose.append(entry.name)
        else:
            others.append(entry.name)
    classes = {name: sorted(images) for name, images in sorted(classes.items())}
    left_out = _left_out(loose if any(classes.values()) else [], deeper, others)
    return ImageFiles(sorted(loose), classes, left_out)


def visible(folder: str | Path) -> list[os.DirEntry]:
    """What is neither hidden nor a system's own."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(
            f"{printable(str(folder))} cannot be read ({error.strerror}); make it readable or "
            "remove it."
        ) from None
    return [e for e in entries if e.name[0] != "." and e.name.lower() not in SYSTEM_NAMES]


def may_be_image(entry: os.DirEntry) -> bool:
    """By its name; a link that leads nowhere is one, which is found to be bad when it is read."""
    if not has_ending(entry.name):
        return False
    is_file = entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)
    return is_file or not os.path.exists(entry.path)


def has_ending(name: str) -> bool:
    """Whether a file's name ends as those of images do, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def other_layout(root: Path, found: ImageFiles, right: str, without_classes: bool = False) -> str:
    """What `root` holds in place of class folders of images, and that it should hold `right`; ""
    where it has some. Folders called train or val are splits where no others have images.

    without_classes: whether images in no class folder are right too.
    """
    folders = {name for name, images in found.classes.items() if images}
    if any(not _is_split(name) for name in folders):
        return ""
    if better := _deeper_layout(root):
        return better
    if folders:
        names = " and ".join(sorted(folders))
        cure = "sort the images of one into a folder a class, and name that"
        if without_classes:
            cure = f"name one of them, such as {root / min(folders)}"
        return (
            f"{root} holds no class folders, but images in {names}, which is called as splits are; "
            f"{cure}."
        )
    if found.loose:
        return (
            f"{root} holds images ({len(found.loose)}, such as {found.loose[0]}) but no class "
            f"folders; it should hold {right}."
        )
    if found.left_out:
        return (
            f"{root} holds files, but no images where they should be: {right}, unpacked, of a "
            f"format that Pillow reads. {found.left_out}"
        )
    return f"{root} has no images; it should hold {right}."


def _deeper_layout(root: Path) -> str:
    """The first data below the folders of `root`, of training where there are several."""
    for folder in _folders_below(root):
        if is_dataset(folder):
            return f"{root} holds no class folders, but {folder} is a dataset; name {folder}."
        if folder.parent == root or not any(map(may_be_image, visible(folder))):
            continue
        parent = folder.parent
        siblings = [entry for entry in visible(parent) if entry.is_dir()]
        if len(siblings) > 1 or _is_split(parent.name):
            return f"{root} holds no class folders, but {parent} does; name {parent}."
        return (
            f"{root} has its images a folder deeper than class folders have them, as in "
            f"{folder.relative_to(root)}; move them up, into the folders of their classes, "
            f"and name {parent.parent}."
        )
    return ""


def _folders_below(root: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Each before those in it; of many only the first, those of training before others."""
    if depth == 0:
        return
    names = [entry.name for entry in visible(root) if entry.is_dir()]
    for name in sorted(names, key=lambda name: ("train" not in name.lower(), name))[
        :MOST_LOOKED_AT
    ]:
        yield root / name
        yield from _folders_below(root / name, depth - 1)


def _images_below(folder: str, name: str) -> Iterator[str]:
    """Of a folder that is left out, so that one that cannot be read does no harm."""
    try:
        entries = visible(folder)
    except InputError:
        return
    for entry in entries:
        below = f"{name}/{entry.name}"
        if may_be_image(entry):
            yield below
        elif entry.is_dir(follow_symlinks=False):
            yield from _images_below(entry.path, below)


def _left_out(loose: list[str], deeper: list[str], others: list[str]) -> str:
    """One sentence, with an example of each kind."""
    by_ending = defaultdict(list)
    for name in sorted(others):
        by_ending[os.path.splitext(name)[1].lower() or "no ending"].append(name)
    kinds = {
        "outside class folders": loose,
        "in folders of class folders": deeper,
        **{f"with {ending}": names for ending, names in by_ending.items()},
    }
    told = [
        f"{len(names)} {how} (such as {printable(min(names))})"
        for how, names in sorted(kinds.items(), key=lambda kind: -len(kind[1]))[:NUM_TOLD]
        if names
    ]
    return f"Files that are left out: {', '.join(told)}." if told else ""


def _is_split(name: str) -> bool:
    return name.lower().rstrip("0123456789") in SPLIT_NAMES
