"""Image folders to subsets and arrays."""

import os

import numpy as np
import pytest
from PIL import Image

from select_subset import select_subset
from slimdit.core.errors import InputError
from slimdit.data.draw import assign_roles, draw_orders
from slimdit.data.images import load_image
from slimdit.data.sources import image_source
from slimdit.storage.files import read_csv, sha256_of

DATA = {
    "classes": None,
    "num_classes": 3,
    "min_images_per_class": 6,
    "max_images_per_class": 8,
    "held_out_per_class": 2,
    "reference_per_class": 5,
    "bad_images": "refuse",
    "seed": 0,
}


def folders(**counts):
    return {name: [f"{name}/{i:02}.png" for i in range(count)] for name, count in counts.items()}


def draw_subset(folders, data):
    """The rows of a subset in which no image is bad, without digests."""
    num = data["held_out_per_class"] + data["max_images_per_class"]
    orders = draw_orders(folders, data)
    taken = {name: [{"path": path} for path in order[:num]] for name, order in orders.items()}
    return assign_roles(taken, data)


FIVE = folders(ant=8, bee=9, cat=20, dog=12, elk=7)


def files_of(rows, split, name):
    return [row["path"] for row in rows if (row["split"], row["class"]) == (split, name)]


def test_only_classes_with_enough_images_are_drawn():
    drawn = {row["class"] for seed in range(20) for row in draw_subset(FIVE, DATA | {"seed": seed})}
    assert drawn == {"ant", "bee", "cat", "dog"}


def test_labels_follow_the_alphabet_and_sizes_the_config():
    rows = draw_subset(FIVE, DATA)
    classes = sorted({row["class"] for row in rows})
    assert len(classes) == 3
    for label, name in enumerate(classes):
        own = [row for row in rows if row["class"] == name]
        assert {row["label"] for row in own} == {label}
        assert len(files_of(rows, "held_out", name)) == 2
        assert len(files_of(rows, "train", name)) == min(8, len(FIVE[name]) - 2)
        assert sum(row["reference"] for row in own) == 5


def test_no_image_is_drawn_twice_and_the_reference_is_trained_on():
    rows = draw_subset(FIVE, DATA)
    assert len({row["path"] for row in rows}) == len(rows)
    assert all(row["split"] == "train" for row in rows if row["reference"])


def test_subset_depends_on_the_seed_alone():
    assert draw_subset(FIVE, DATA) == draw_subset(FIVE, DATA)
    assert draw_subset(FIVE, DATA) != draw_subset(FIVE, DATA | {"seed": 1})


def test_images_of_a_class_do_not_depend_on_the_other_classes():
    named = DATA | {"classes": ["cat"], "num_classes": 1}
    both = DATA | {"classes": ["bee", "cat"], "num_classes": 2}
    alone, together = (files_of(draw_subset(FIVE, d), "train", "cat") for d in (named, both))
    assert alone == together


def test_named_classes_keep_their_order():
    named = DATA | {"classes": ["dog", "ant", "cat"]}
    rows = draw_subset(FIVE, named)
    assert {row["class"]: row["label"] for row in rows} == {"dog": 0, "ant": 1, "cat": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 5}, r"data\.num_classes is 5, but only 4 of 5 classes hold"),
        ({"classes": ["ant", "owl", "cat"]}, r"data\.classes: 'owl' is no class of data"),
        ({"classes": ["ant", "elk", "cat"]}, r"data\.classes: 'elk' .* at least 8 images"),
        ({"classes": ["ant", "ant", "cat"]}, r"'ant' is 'ant', which is listed before it"),
        ({"classes": ["ant", "cat"]}, r"lists 2 classes, but data\.num_classes is 3"),
    ],
)
def test_classes_that_cannot_be_drawn_are_an_input_error(change, message):
    with pytest.raises(InputError, match=message):
        draw_subset(FIVE, DATA | change)


@pytest.fixture
def images_root(tmp_path):
    root = tmp_path / "images"
    for red, name in enumerate(("bee", "ant")):
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (red, i, 0)).save(root / name / f"{i}.png")
    (root / "ant" / "notes.txt").write_text("no image")
    (root / "ant" / "SHOUTED.JPG").write_bytes(b"by its name")
    (root / "loose.png").write_bytes(b"in no class")
    return root


def test_class_folders_list_images_alone_in_order(images_root):
    assert image_source(images_root).classes() == {
        "ant": ["ant/0.png", "ant/1.png", "ant/2.png", "ant/SHOUTED.JPG"],
        "bee": ["bee/0.png", "bee/1.png", "bee/2.png"],
    }


def test_folder_that_is_missing_or_has_no_images_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"data\.images: .*absent is not a folder"):
        image_source(tmp_path / "absent")
    (tmp_path / "class").mkdir()
    with pytest.raises(InputError, match="has no images"):
        image_source(tmp_path).classes()


def test_the_root_of_imagenet_is_told_from_its_training_images(images_root, tmp_path):
    (images_root / "loose.png").unlink()
    images_root.rename(tmp_path / "train")
    (tmp_path / "val").mkdir()
    for flat in (False, True):
        if flat:
            Image.new("RGB", (8, 8)).save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
        with pytest.raises(InputError, match=rf"data\.images: .*; name {tmp_path}/train\."):
            image_source(tmp_path).classes()
    assert set(image_source(tmp_path / "train").classes()) == {"ant", "bee"}


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


CLASSES = ("a/0.png", "b/0.png")
LAYOUTS = {
    "flat": (CLASSES, "a", r"holds images \(1, such as 0\.png\) but no class folders"),
    "tiny-imagenet": (
        [f"train/{name}/images/0.JPEG" for name in "ab"] + ["val/images/0.JPEG"],
        "",
        "a folder deeper than class folders have them, as in train/a/images; .* name .*/train",
    ),
    "Kaggle": (
        [f"ILSVRC/Data/{split}/{name}/0.JPEG" for split in ("train", "val") for name in "ab"]
        + ["ILSVRC/Annotations/train/a/0.xml"],
        "",
        "name .*/ILSVRC/Data/train",
    ),
    "training": (
        ["training/a/0.png", "training/b/0.png", "validation/x.txt"], "", "name .*/training"
    ),
    "one class of many": (["faces/train/a/0.png", "faces/test/a/0.png"], "", "name .*/faces/train"),
    "flat splits": (["train/0.png", "test1/1.png"], "", "in test1 and train, .* as splits are"),
    "hub": (["README.md", "data/train-0-of-1.parquet"], "", "/data is a dataset; name .*/data"),
    "cache of the hub": (
        ["snapshots/0a1b/data/train-0-of-1.parquet", "refs/main"], "", "name .*/snapshots/0a1b/data"
    ),
    "saved splits": (["cats/dataset_dict.json"], "", "/cats is a dataset; name .*/cats"),
    "archives": (["train-0000.tar", "train-0001.tar"], "", r"2 with \.tar \(such as train-0000"),
    "other formats": (["a/0.heic", "b/1.heic"], "", r"2 with \.heic \(such as a/0\.heic\)"),
    "without an ending": (["a/0", "b/1"], "", r"2 with no ending \(such as a/0\)"),
}  # fmt: skip


@pytest.mark.parametrize(("names", "root", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_other_layouts_are_told_by_what_was_found_and_what_to_name(tmp_path, names, root, message):
    put(tmp_path, *names)
    with pytest.raises(InputError, match=message) as error:
        image_source(tmp_path / root).classes()
    assert "\n" not in str(error.value) and "has no images" not in str(error.value)


ENDINGS = ["jpg", "JPEG", "Jpg", "jfif", "jpe", "webp", "bmp", "TIF", "gif", "avif", "jp2", "ppm"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_that_pillow_decodes_are_images(tmp_path, ending):
    put(tmp_path, f"a/0.{ending}", "a/film.mpg", "a/table.h5", "a/paper.pdf")
    assert image_source(tmp_path).classes() == {"a": [f"a/0.{ending}"]}


SYSTEM = ["lost+found", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"]


@pytest.mark.parametrize("name", [*SYSTEM, ".thumbnails", ".Trash-1000"])
def test_folders_of_the_system_are_no_classes_and_need_not_be_readable(tmp_path, name, monkeypatch):
    put(tmp_path, *CLASSES, f"{name}/0.png", f"a/{name}/0.png", f"a/{name}/1.heic", "a/Thumbs.db")
    scan = os.scandir

    def guarded(path):
        if os.path.basename(path) == name:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    source = image_source(tmp_path)
    assert set(source.classes()) == {"a", "b"} and source.left_out == ""


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    put(tmp_path, "train/0.png", "plane/0.png", "test/0.png")
    assert set(image_source(tmp_path).classes()) == {"train", "plane", "test"}


def test_what_is_left_out_is_told_where_classes_are_too_few(tmp_path):
    put(tmp_path, *CLASSES, "loose.png", "a/more/1.png", "b/2.heic", "b/3.HEIC", "b/4")
    source = image_source(tmp_path)
    classes = source.classes()
    assert source.left_out == (
        "Files that are left out: 2 with .heic (such as b/2.heic), 1 outside class folders (such "
        "as loose.png), 1 in folders of class folders (such as a/more/1.png), 1 with no ending "
        "(such as b/4)."
    )
    for change in ({"num_classes": 2}, {"classes": ["a", "b", "c"]}):
        with pytest.raises(InputError, match=r"images .*Files that are left out: 2 with \.heic"):
            draw_orders(classes, DATA | change, source.left_out)


def test_selected_rows_carry_the_digests_of_their_files(images_root, tmp_path):
    data = DATA | {
        "num_classes": 2,
        "min_images_per_class": 2,
        "max_images_per_class": 2,
        "held_out_per_class": 1,
        "reference_per_class": 1,
    }
    (images_root / "ant" / "SHOUTED.JPG").unlink()
    subset, bad_images = tmp_path / "subset.csv", tmp_path / "bad_images.csv"
    select_subset(subset, bad_images, str(images_root), data, tmp_path / "state", {})
    rows = read_csv(subset)
    assert list(rows[0]) == ["path", "class", "label", "split", "reference", "sha256"]
    assert len(rows) == 6
    assert all(row["sha256"] == sha256_of(images_root / row["path"]) for row in rows)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_image_of_the_right_size_is_read_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(load_image(save(tmp_path / "a.png", pixels), 8), pixels)


@pytest.mark.parametrize("shape", [(8, 16, 3), (16, 8, 3)])
def test_the_centred_square_is_what_is_read(tmp_path, shape):
    pixels = np.zeros(shape, np.uint8)
    rows, columns = ((0, 8), (4, 12)) if shape[0] == 8 else ((4, 12), (0, 8))
    pixels[rows[0] : rows[1], columns[0] : columns[1]] = 200
    loaded = load_image(save(tmp_path / "a.png", pixels), 8)
    assert loaded.shape == (8, 8, 3)
    assert (loaded == 200).all()


def test_images_are_resized_to_the_asked_side(tmp_path):
    pixels = np.full((33, 21, 3), 90, np.uint8)
    loaded = load_image(save(tmp_path / "a.png", pixels), 16)
    assert (loaded.shape, set(loaded.flatten())) == ((16, 16, 3), {90})


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new(mode, (8, 8)).save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}", 8)
    assert (loaded.shape, loaded.dtype) == ((8, 8, 3), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix):
    levels = np.array([[0, 255, 256, 30000, 65535]], np.uint16)
    loaded = load_image(save(tmp_path / f"a.{suffix}", levels), None)
    assert loaded[0].tolist() == [[level >> 8] * 3 for level in levels[0].tolist()]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(tmp_path, mode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((9, 9, 9, 255), (0, 0, 4, 8))
    image.convert(mode).save(tmp_path / "a.png")
    loaded = load_image(tmp_path / "a.png", None)
    assert (loaded[:, :4] == 9).all() and (loaded[:, 4:] == 255).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_an_input_error(tmp_path, mode):
    Image.new(mode, (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="its pixels have 32 bits, but should have 8 or 16"):
        load_image(tmp_path / "a.tif", 8)


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    loaded = load_image(save(tmp_path / "a.png", pixels, exif=exif), 8)
    assert (loaded[:4].max(), loaded[4:].min()) == (0, 255)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_file_that_is_no_image_is_an_input_error(tmp_path, content):
    path = save(
        tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    )
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image .* mend or remove"):
        load_image(path, 8)
