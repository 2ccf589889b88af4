"""Which classes and images a study draws, and the role of each image."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.data.class_names import find_class, is_plain, printable
from slimdit.data.images import NotAnImage, decode
from slimdit.jobs.progress import Progress

COLUMNS = ["path", "class", "label", "split", "reference", "sha256"]
BAD_COLUMNS = ["path", "reason"]
LEAST_SIDE = 8  # pixels; smaller images show nothing
NUM_NAMED = 3  # of the bad images; the report lists all


def least_images(data: dict) -> int:
    """What a class must hold to be drawn."""
    least = max(data["min_images_per_class"], data["reference_per_class"])
    return least + data["held_out_per_class"]


def draw_classes(images: dict[str, list[str]], data: dict, left_out: str = "") -> list[str]:
    """The classes in the order of their labels; raises InputError if there are too few.

    left_out: a sentence on files that are not among the images.
    """
    least = least_images(data)
    eligible = [name for name, its_images in images.items() if len(its_images) >= least]
    if data["classes"]:
        return named_classes(eligible, data, least, left_out)
    if len(eligible) < data["num_classes"]:
        raise InputError(
            f"data.num_classes is {data['num_classes']}, but only {len(eligible)} of "
            f"{len(images)} classes hold at least {least} images "
            f"(data.min_images_per_class and data.held_out_per_class). {left_out}".rstrip()
        )
    drawn = stream(data["seed"], "classes").permutation(len(eligible))[: data["num_classes"]]
    return sorted(eligible[i] for i in drawn)


def named_classes(eligible: list[str], data: dict, least: int, left_out: str) -> list[str]:
    """Those of data.classes; raises InputError for a name of none or of one named before it."""
    if len(data["classes"]) != data["num_classes"]:
        raise InputError(
            f"data.classes lists {len(data['classes'])} classes, but data.num_classes is "
            f"{data['num_classes']}."
        )
    classes = []
    for name in data["classes"]:
        found = find_class(name, eligible)
        if found is None:
            raise InputError(
                f"data.classes: {name!r} is no class of data.images with at least {least} images. "
                f"{left_out}".rstrip()
            )
        if found in classes:
            raise InputError(f"data.classes: {name!r} is {found!r}, which is listed before it.")
        classes.append(found)
    return classes


def draw_orders(
    images: dict[str, list[str]], data: dict, left_out: str = ""
) -> dict[str, list[str]]:
    """All images of each drawn class, in the order in which they are taken."""
    orders = {}
    for name in draw_classes(images, data, left_out):
        order = stream(data["seed"], f"images/{name}").permutation(len(images[name]))
        orders[name] = [images[name][index] for index in order]
    return orders


def examine(path: str, source) -> tuple[str, str]:
    """The sha256 of an image, and what is bad about it: an empty string if nothing is."""
    if not is_plain(path):
        return "", "its name is not UTF-8 on one line"
    try:
        content = source.read(path)
    except OSError as error:
        return "", error.strerror
    digest = hashlib.sha256(content).hexdigest()
    try:
        width, height = decode(content).size
    except NotAnImage as reason:
        return digest, str(reason)
    if min(width, height) < LEAST_SIDE:
        return digest, f"it is {width}x{height} pixels, fewer than {LEAST_SIDE} on a side"
    return digest, ""


def take_images(
    orders: dict[str, list[str]], num_per_class: int, source, skip: bool, state: str
) -> tuple[dict[str, list[dict]], list[dict]]:
    """The first images of each class's order, as {"path", "sha256"}, and the bad ones among them.

    With `skip` the next ones of the order take the place of bad ones. Bad is also an image with
    the bytes of one that was taken before it, of whatever class. state: folder of the heartbeat.
    """
    taken = {name: [] for name in orders}
    orders = {name: iter(order) for name, order in orders.items()}
    bad, path_of = [], {}
    Image.init()  # threads that load Pillow's formats at the same time miss some
    with ThreadPoolExecutor() as pool:
        while batch := [
            (name, path)
            for name, order in orders.items()
            for path in islice(order, num_per_class - len(taken[name]))
        ]:
            findings = pool.map(partial(examine, source=source), [path for _, path in batch])
            with Progress(len(batch), "check images", "image", state=state) as progress:
                for (name, path), (digest, reason) in zip(batch, findings, strict=True):
                    if not reason and digest in path_of:
                        reason = f"it has the same bytes as {path_of[digest]}"
                    if reason:
                        bad.append({"path": printable(path), "reason": reason})
                    else:
                        path_of[digest] = path
                        taken[name].append({"path": path, "sha256": digest})
                    progress.update()
            if bad and not skip:
                break
    return taken, bad


def refuse_bad(bad: list[dict], num_drawn: int, report: Path) -> None:
    """Raises InputError that names the first bad images, and the report that lists them all."""
    named = [f"{image['path']} ({image['reason']})" for image in bad[:NUM_NAMED]]
    if len(bad) > NUM_NAMED:
        named.append(f"{len(bad) - NUM_NAMED} more")
    raise InputError(
        f"data.images: {len(bad)} of {num_drawn} images drawn cannot be used: "
        f"{', '.join(named)}; mend or remove them or set data.bad_images to skip "
        f"({report} lists them all)."
    )


def check_sizes(taken: dict[str, list[dict]], least: int, report: Path) -> None:
    """Raises InputError for a class of which fewer than `least` images can be used."""
    for name, images in taken.items():
        if len(images) < least:
            raise InputError(
                f"data.images: only {len(images)} images of class {name!r} can be used, of at "
                f"least {least} (data.min_images_per_class and data.held_out_per_class); mend or "
                f"add some ({report} lists the bad ones)."
            )


def assign_roles(taken: dict[str, list[dict]], data: dict) -> list[dict]:
    """Rows of subset.csv, in the order of `taken`.

    Of each class: held_out_per_class images that nothing trains on, then those to train on,
    reference_per_class of which are the reference.
    """
    rows = []
    for label, (name, images) in enumerate(taken.items()):
        for position, image in enumerate(images):
            trained_on = position - data["held_out_per_class"]
            rows.append(
                {
                    **image,
                    "class": name,
                    "label": label,
                    "split": "train" if trained_on >= 0 else "held_out",
                    "reference": int(0 <= trained_on < data["reference_per_class"]),
                }
            )
    return rows
