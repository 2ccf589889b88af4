"""Image folders to subsets and arrays."""

import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_rotation_is_as_pillow_applies_it(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", pixels, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (load_image(path, None) == expected).all()


def with_chunk(kind, content):
    info = PngImagePlugin.PngInfo()
    info.add(kind, content)
    return {"pnginfo": info}


@pytest.mark.parametrize(
    "odd",
    [
        with_chunk(b"eXIf", b"no TIFF at all"),
        with_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n      4\nzzzz"),
        with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2**21)),
        with_chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"no profile")),
    ],
    ids=["exif", "raw profile", "long text", "colour profile"],
)
def test_metadata_never_decide_about_pixels(tmp_path, odd):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert (load_image(save(tmp_path / "a.png", pixels, **odd), None) == pixels).all()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_file_that_is_no_image_is_an_input_error(tmp_path, content):
    path = save(
        tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    )
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image .* mend or remove"):
        load_image(path, 8)
