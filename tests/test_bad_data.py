"""Bad data are left out or refused by name before anything is trained."""

import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cut_photos as cutting
from cut_photos import cut_photos
from select_subset import select_subset
from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.data.draw import draw_orders
from slimdit.data.images import load_image
from slimdit.data.photos import crop_boxes
from slimdit.data.sources import image_source
from slimdit.data.subset import read_image, read_images
from slimdit.storage.files import TEMPORARY, read_csv, read_json, sha256_of
from slimdit.storage.folders import atomic_folder, check_replaceable

ROOT = Path(__file__).parents[1]
NUM_FILES, NUM_DRAWN, NUM_HELD_OUT = 10, 7, 2  # of each class
DATA = {
    "classes": None,
    "num_classes": 2,
    "min_images_per_class": 4,
    "max_images_per_class": NUM_DRAWN - NUM_HELD_OUT,
    "held_out_per_class": NUM_HELD_OUT,
    "reference_per_class": 3,
    "bad_images": "refuse",
    "seed": 0,
}


def encoded(what, width=12, height=12, file_format="PNG"):
    """The bytes of an image of noise, which are those of no other."""
    pixels = stream(0, what).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def fill(folder, num_files=NUM_FILES):
    folder.mkdir(parents=True)
    for i in range(num_files):
        (folder / f"{i:02}.png").write_bytes(encoded(f"{folder.name!r}/{i}"))


@pytest.fixture
def root(tmp_path):
    """Two classes of images that nothing is wrong with."""
    for name in ("ant", "bee"):
        fill(tmp_path / "images" / name)
    return tmp_path / "images"


def select(root, out, **change):
    """The rows of subset.csv, of bad_images.csv, and the paths of each class."""
    subset, bad_images = out / "subset.csv", out / "bad_images.csv"
    data = DATA | change
    select_subset(subset, bad_images, str(root), data, str(out / "state"), {})
    rows = read_csv(subset)
    paths = {}
    for row in rows:
        paths.setdefault(row["class"], []).append(row["path"])
    return rows, read_csv(bad_images), paths


def order_of(root, name, **change):
    return draw_orders(image_source(root).classes(), DATA | change)[name]


def png_that_claims(width, height):
    """A small file whose header speaks of a large image."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + encoded("bomb")[33:]


JPEG = encoded("jpeg", 64, 64, "JPEG")
PNG = encoded("png", 64, 64)
BAD_BYTES = {
    "empty": (b"", "it is empty"),
    "text": (b"<html>Not found</html>", "it has no known format"),
    "JPEG without its end": (JPEG[: len(JPEG) // 2], "truncated"),
    "JPEG of its first bytes": (JPEG[:16], "Truncated File Read"),
    "PNG without its end": (PNG[: len(PNG) // 2], "truncated"),
    "PNG with a wrong bit": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "broken data stream"),
    "1x1": (encoded("dot", 1, 1), "it is 1x1 pixels, fewer than 8 on a side"),
    "a line": (encoded("line", 100, 7), "it is 100x7 pixels, fewer than 8 on a side"),
    "bomb": (png_that_claims(60000, 60000), r"3600000000 pixels\) exceeds limit"),
    "half a bomb": (png_that_claims(10000, 10000), "it has 100000000 pixels, more than 89478485"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("content", "reason"), BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_a_bad_image_is_refused_by_name_or_replaced_by_the_next(root, tmp_path, content, reason):
    order = order_of(root, "ant")
    (root / order[3]).write_bytes(content)
    with pytest.raises(InputError, match=f"1 of 14 images drawn cannot be used: {order[3]} ") as e:
        select(root, tmp_path)
    assert "set data.bad_images to skip" in str(e.value)
    report = tmp_path / "state" / "bad_images.csv"
    assert str(report) in str(e.value)
    assert not (tmp_path / "subset.csv").exists() and not (tmp_path / "bad_images.csv").exists()
    (refused,) = read_csv(report)
    assert refused["path"] == order[3] and re.search(reason, refused["reason"])

    rows, bad, paths = select(root, tmp_path, bad_images="skip")
    assert bad == [refused] == read_csv(report)
    assert paths["ant"] == order[:3] + order[4 : NUM_DRAWN + 1]
    assert paths["bee"] == order_of(root, "bee")[:NUM_DRAWN]
    assert [row["split"] for row in rows] == 2 * (2 * ["held_out"] + 5 * ["train"])


@pytest.mark.parametrize("bad_images", ["refuse", "skip"])
def test_without_bad_images_the_first_of_each_order_are_taken(root, tmp_path, bad_images):
    _, bad, paths = select(root, tmp_path, bad_images=bad_images)
    assert paths == {name: order_of(root, name)[:NUM_DRAWN] for name in ("ant", "bee")}
    assert bad == []
    assert (tmp_path / "bad_images.csv").read_text() == "path,reason\n"


def run_rule(folder, prompts=None):
    """Select the subset of `folder`/images as its study does."""
    overlay = folder / "own.yaml"
    data = DATA | {"photos": None, "images": "images"}
    overlay.write_text(
        json.dumps({"study": "photos", "data": data, "sampling": {"prompts": prompts}})
    )
    command = [
        *(sys.executable, "-m", "snakemake", "results/photos/data/subset.csv", "--cores", "1"),
        *("--directory", folder, "--snakefile", ROOT / "Snakefile"),
        *("--configfile", ROOT / "config.yaml", overlay),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_rule_refuses_in_one_sentence_and_its_report_stays(root, tmp_path):
    path, results = root / order_of(root, "ant")[0], tmp_path / "results/photos"
    path.write_bytes(b"")
    refused = run_rule(tmp_path)
    assert refused.returncode != 0 and "Traceback" not in refused.stderr
    assert "select_subset: data.images: 1 of 14 images drawn cannot be used" in refused.stderr
    assert not (results / "data/subset.csv").exists()
    assert len(read_csv(results / "state/subset/bad_images.csv")) == 1

    path.write_bytes(encoded("mended"))
    refused = run_rule(tmp_path, prompts=["ant", "aunt"])
    assert "select_subset: sampling.prompts: 'aunt' is none of the subset's" in refused.stderr
    assert run_rule(tmp_path).returncode == 0
    assert len(read_csv(results / "data/subset.csv")) == 2 * NUM_DRAWN
    assert read_csv(results / "data/bad_images.csv") == []


def test_a_bad_image_that_is_not_drawn_harms_nobody(root, tmp_path):
    (root / order_of(root, "ant")[NUM_DRAWN]).write_bytes(b"")
    assert select(root, tmp_path)[1] == []


def test_bad_images_in_the_place_of_bad_ones_are_replaced_too(root, tmp_path):
    order = order_of(root, "bee")
    for path in (order[0], order[NUM_DRAWN]):
        (root / path).write_bytes(b"")
    _, bad, paths = select(root, tmp_path, bad_images="skip")
    assert [row["path"] for row in bad] == [order[0], order[NUM_DRAWN]]
    assert paths["bee"] == order[1:NUM_DRAWN] + order[NUM_DRAWN + 1 : NUM_DRAWN + 2]


def test_the_message_names_a_few_and_the_report_all(root, tmp_path):
    for path in order_of(root, "ant")[:5]:
        (root / path).write_bytes(b"")
    with pytest.raises(InputError, match=r"5 of 14 images (.* \(it is empty\)){3}, 2 more; mend"):
        select(root, tmp_path)
    assert len(read_csv(tmp_path / "state" / "bad_images.csv")) == 5


def test_a_class_that_has_too_few_good_images_is_refused(root, tmp_path):
    for path in order_of(root, "bee")[:5]:
        (root / path).write_bytes(b"")
    with pytest.raises(InputError, match=r"only 5 images of class 'bee' .*, of at least 6 "):
        select(root, tmp_path, bad_images="skip")
    assert len(read_csv(tmp_path / "state" / "bad_images.csv")) == 5
    _, _, paths = select(root, tmp_path, bad_images="skip", min_images_per_class=3)
    assert len(paths["bee"]) == 5


@pytest.mark.parametrize(
    ("first", "again"),
    [(("ant", 0), ("ant", 1)), (("ant", 1), ("ant", 4)), (("ant", 3), ("bee", 2))],
    ids=["both held out", "held out and trained on", "in two classes"],
)
def test_an_image_that_is_there_twice_is_bad(root, tmp_path, first, again):
    original, copy = (order_of(root, name)[place] for name, place in (first, again))
    (root / copy).write_bytes((root / original).read_bytes())
    reason = f"it has the same bytes as {original}"
    with pytest.raises(InputError, match=rf"1 of 14 .*: {copy} \({reason}\); mend"):
        select(root, tmp_path)
    rows, bad, paths = select(root, tmp_path, bad_images="skip")
    assert bad == [{"path": copy, "reason": reason}]
    assert copy not in paths[again[0]] and len(rows) == 2 * NUM_DRAWN
    assert len({row["sha256"] for row in rows}) == len(rows)


def test_a_replacement_that_equals_an_image_taken_is_replaced(root, tmp_path):
    ants, bees = order_of(root, "ant"), order_of(root, "bee")
    (root / ants[0]).write_bytes(b"")
    (root / ants[NUM_DRAWN]).write_bytes((root / bees[0]).read_bytes())
    _, bad, paths = select(root, tmp_path, bad_images="skip")
    assert [row["path"] for row in bad] == [ants[0], ants[NUM_DRAWN]]
    assert paths["bee"] == bees[:NUM_DRAWN] and ants[NUM_DRAWN + 1] in paths["ant"]


# Odd trees.

ODD_NAMES = [
    "with spaces ",
    "quotes \"and\" 'more'",
    "commas, and; more",
    "ünïcode 猫",
    "thin\u202fspace",
    "#hash%percent",
    "{study}",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_from_the_csv(root, tmp_path, name):
    fill(root / name)
    image = root / name / f"{name}.png"
    image.write_bytes(encoded("odd"))
    change = {"classes": [name, "bee"], "max_images_per_class": NUM_FILES}
    rows, bad, paths = select(root, tmp_path, **change)
    assert bad == [] and f"{name}/{name}.png" in paths[name]
    assert {row["class"]: row["label"] for row in rows} == {name: "0", "bee": "1"}
    for row in rows:
        pixels = read_image(row, root, 12)
        assert np.array_equal(pixels, load_image(root / row["path"], 12))


def test_names_that_differ_by_case_alone_are_two(root, tmp_path):
    fill(root / "Ant")
    paths = select(root, tmp_path, num_classes=3)[2]
    assert set(paths) == {"ant", "Ant", "bee"}


BAD_NAMES = [b"new\nline", b"carriage\rreturn", b"latin-\xe9", b"tab\t"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_class_whose_name_fits_on_no_line_is_refused(root, name):
    fill(root / os.fsdecode(name))
    with pytest.raises(InputError, match="does not have a name in UTF-8 on one line") as error:
        image_source(root).classes()
    assert repr(os.fsdecode(name)) in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_file_whose_name_fits_on_no_line_is_a_bad_image(root, tmp_path, name):
    (root / "ant" / os.fsdecode(name + b".png")).write_bytes(encoded("odd"))
    change = {"max_images_per_class": NUM_FILES}
    with pytest.raises(InputError, match=r"\(its name is not UTF-8 on one line\)") as error:
        select(root, tmp_path, **change)
    assert str(error.value).isprintable()
    _, bad, paths = select(root, tmp_path, **change, bad_images="skip")
    assert bad[0]["path"] == repr(f"ant/{os.fsdecode(name)}.png")
    assert len(paths["ant"]) == NUM_FILES


@pytest.mark.parametrize("name", ["._00.png", ".DS_Store.jpg", ".hidden.png"])
def test_hidden_files_and_folders_are_no_data(root, name):
    before = image_source(root).classes()
    (root / "ant" / name).write_bytes(b"Mac OS X")
    fill(root / ".ipynb_checkpoints")
    assert image_source(root).classes() == before


def test_folders_without_images_are_not_drawn(root, tmp_path):
    (root / "empty").mkdir()
    (root / "ant" / "folder.png").mkdir()
    os.mkfifo(root / "ant" / "pipe.png")
    assert set(select(root, tmp_path)[2]) == {"ant", "bee"}
    assert image_source(root).classes()["empty"] == []
    assert len(image_source(root).classes()["ant"]) == NUM_FILES


@pytest.mark.parametrize("target", [".", "..", "ant/.."])
def test_links_to_a_parent_folder_are_no_class_and_no_image(root, target):
    before = image_source(root).classes()
    (root / "loop").symlink_to(target)
    (root / "ant" / "loop.png").symlink_to("..")
    (root / "ant" / "loop").symlink_to(".")
    assert image_source(root).classes() == before | {"loop": []}


def test_links_to_images_and_to_folders_of_images_are_followed(root, tmp_path):
    (root / "bee").rename(tmp_path / "elsewhere")
    (root / "bee").symlink_to(tmp_path / "elsewhere")
    (root / "ant" / "00.png").rename(tmp_path / "image")
    (root / "ant" / "00.png").symlink_to(tmp_path / "image")
    rows, bad, _ = select(root, tmp_path, max_images_per_class=NUM_FILES)
    assert bad == [] and len(rows) == 2 * NUM_FILES


@pytest.mark.parametrize("target", ["nowhere", "00.png"], ids=["dangling", "to itself"])
def test_a_link_to_no_image_is_a_bad_image(root, tmp_path, target):
    (root / "ant" / "00.png").unlink()
    (root / "ant" / "00.png").symlink_to(target)
    change = {"max_images_per_class": NUM_FILES - NUM_HELD_OUT}
    with pytest.raises(InputError, match=r"1 of 20 .*: ant/00\.png \((No such|Too many levels)"):
        select(root, tmp_path, **change)
    _, _, paths = select(root, tmp_path, **change, bad_images="skip")
    assert len(paths["ant"]) == NUM_FILES - 1


@pytest.mark.parametrize("target", ["nowhere", "cat"], ids=["dangling", "to itself"])
def test_a_link_to_no_class_folder_is_refused(root, target):
    (root / "cat").symlink_to(target)
    with pytest.raises(InputError, match=r"images/cat is a link that leads nowhere"):
        image_source(root).classes()


@pytest.mark.parametrize("closed", ["images", "ant"])
def test_a_folder_that_may_not_be_read_is_refused(root, monkeypatch, closed):
    """Where nobody is kept out, as root is not."""
    scan = os.scandir

    def guarded(path):
        if os.path.basename(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(InputError, match=rf"/{closed} cannot be read \(Permission denied\)"):
        image_source(root).classes()


def test_a_thousand_classes_are_indexed(tmp_path):
    for i in range(1000):
        (tmp_path / "images" / f"n{i:08}").mkdir(parents=True)
        for j in range(3):
            (tmp_path / "images" / f"n{i:08}" / f"{j}.png").write_bytes(encoded(f"{i}/{j}", 8, 8))
    change = {"min_images_per_class": 2, "held_out_per_class": 1, "reference_per_class": 1}
    rows, bad, paths = select(tmp_path / "images", tmp_path, num_classes=1000, **change)
    assert (len(rows), len(paths), bad) == (3000, 1000, [])


# What happens after the selection.


@pytest.fixture
def row(root):
    return {"path": "ant/00.png", "sha256": sha256_of(root / "ant/00.png")}


def test_an_image_is_read_as_it_was_selected(root, row):
    assert np.array_equal(read_image(row, root, 12), load_image(root / "ant/00.png", 12))
    assert read_image(row, root, 16).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda path: path.write_bytes(encoded("other")), "its sha256 differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its sha256 differs"),
        (lambda path: path.unlink(), "No such file or directory"),
    ],
    ids=["other image", "cut short", "gone"],
)
def test_an_image_that_changed_after_it_was_selected_is_refused(root, row, change, how):
    change(root / "ant/00.png")
    message = rf"ant/00\.png is not the image that was selected \({how}\); restore it, or delete"
    with pytest.raises(InputError, match=message):
        read_image(row, root, 12)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_the_autoencoder_is_not_trained_on_images_that_changed(root, tmp_path, split):
    rows, _, _ = select(root, tmp_path)
    first = next(row for row in rows if row["split"] == split)
    rows = [row for row in rows if row["split"] == split]
    assert read_images(rows, root, 12, split, tmp_path).shape[1:] == (12, 12, 3)
    (root / first["path"]).write_bytes(encoded("other"))
    with pytest.raises(InputError, match=rf"{first['path']} is not the image"):
        read_images(rows, root, 12, split, tmp_path)


# The folder that the embedded study cuts.

PHOTOS = {
    "names": ["astronaut", "rocket"],
    "crops_per_photo": 3,
    "crop_size": 8,
    "min_side": 0.9,
    "max_side": 1.0,
}


def cut(images, **change):
    cut_photos(str(images), images.parent / "photos.json", PHOTOS | change, 0, {})
    digests = read_json(images.parent / "photos.json")["images_sha256"]
    assert all(sha256_of(images / name) == digest for name, digest in digests.items())
    assert len(digests) == len(list(images.glob("*/*.png")))
    return {path.relative_to(images).as_posix() for path in images.glob("*/*")}


def test_what_was_cut_before_is_replaced_whole(tmp_path):
    images = tmp_path / "results" / "images"
    assert len(cut(images)) == 6
    (images / ".snakemake_timestamp").touch()
    check_replaceable(images, "data.images")
    assert cut(images, names=["rocket"]) == {f"rocket/{i:04}.png" for i in range(3)}


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_a_folder_that_was_not_made_here_is_not_replaced(root, tmp_path, kind):
    images = root
    if kind == "link":
        images = tmp_path / "link"
        cut(tmp_path / "cut")
        images.symlink_to(tmp_path / "cut")
    if kind == "file":
        images = root / "ant" / "00.png"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=rf"data\.images: {images} .* was not made by this"):
        cut(images)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("names", [[], [".snakemake_timestamp"]])
def test_free_places_may_be_taken(tmp_path, names):
    check_replaceable(tmp_path / "absent", "data.images")
    for name in names:
        (tmp_path / name).touch()
    check_replaceable(tmp_path, "data.images")


def test_a_made_folder_whose_deletion_was_cut_short_may_be_replaced(tmp_path):
    images = tmp_path / "images"
    for left in sorted(cut(images))[:2]:
        (images / left).unlink()
    check_replaceable(images, "data.images")


def test_a_cut_that_is_killed_leaves_what_was_there(tmp_path, monkeypatch):
    images = tmp_path / "images"
    before = cut(images)

    def dying_photograph(name):
        if name == "rocket":
            raise KeyboardInterrupt
        return photograph(name)

    photograph = cutting.photograph
    monkeypatch.setattr(cutting, "photograph", dying_photograph)
    with pytest.raises(KeyboardInterrupt):
        cut(images, crops_per_photo=4)
    assert {path.relative_to(images).as_posix() for path in images.glob("*/*")} == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(TEMPORARY)]


def test_what_a_killed_process_left_is_not_in_the_next_folder(tmp_path):
    making = atomic_folder(tmp_path / "images")
    (making.__enter__() / "old").touch()  # and no exit
    with atomic_folder(tmp_path / "images") as folder:
        (folder / "new").touch()
        assert not (tmp_path / "images").exists()
    assert os.listdir(tmp_path / "images") == ["new"]


def test_no_crop_of_a_photograph_is_cut_twice():
    photos = PHOTOS | {"crops_per_photo": 40, "min_side": 0.8, "max_side": 0.95}
    boxes = list(crop_boxes("astronaut", (20, 30), photos, 0))
    assert len(set(boxes)) == 40


def test_a_photograph_without_enough_crops_is_refused():
    photos = PHOTOS | {"min_side": 1.0}
    with pytest.raises(InputError, match=r"data\.photos: astronaut has too few different crops"):
        list(crop_boxes("astronaut", (20, 30), photos, 0))
