"""A tree like ImageNet's, and the same images saved by `datasets`, to latents."""

import io

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from encode_latents import encode_latents
from reconstruct import reconstruct
from select_subset import select_subset
from slimdit.core.randomness import stream
from slimdit.data import resumable_array as resumable
from slimdit.data.autoencoders import (
    decode_images,
    encode_moments,
    load_autoencoder,
    to_model_range,
)
from slimdit.data.class_names import SYNSETS
from slimdit.data.draw import draw_classes
from slimdit.data.latents import UNFLIPPED, LatentCache
from slimdit.data.sources import image_source
from slimdit.data.subset import other_training_rows, read_image
from slimdit.storage.files import load_npz, read_csv, read_json
from slimdit.training.autoencoder import build_autoencoder

CPU = torch.device("cpu")
SIZE, CHANNELS, FACTOR = 32, 4, 2  # of images, of latents
DATA = {
    "classes": None,
    "num_classes": 200,
    "min_images_per_class": 2,
    "max_images_per_class": 20,
    "held_out_per_class": 1,
    "reference_per_class": 1,
    "bad_images": "skip",
    "seed": 0,
}
BAD = {
    "copy.JPEG": "it has the same bytes as",
    "empty.JPEG": "it is empty",
    "text.JPEG": "it has no known format",
    "truncated.JPEG": "runcated",
}


def noise(name, height=SIZE, width=SIZE):
    return Image.fromarray(stream(0, name).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image, file_format="JPEG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def odd_files():
    """What ImageNet holds besides plain JPEGs, by name; the bad ones are those of BAD."""
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    truncated = encoded(noise("truncated"))
    return {
        "grey.JPEG": encoded(noise("grey").convert("L")),
        "cmyk.JPEG": encoded(noise("cmyk").convert("CMYK")),
        "palette.JPEG": encoded(noise("palette").quantize(16), "PNG"),
        "rotated.JPEG": encoded(noise("rotated"), exif=upside_down),
        "wide.JPEG": encoded(noise("wide", 40, 90)),
        "copy.JPEG": encoded(noise("grey").convert("L")),
        "empty.JPEG": b"",
        "text.JPEG": b"<html>Not found</html>",
        "truncated.JPEG": truncated[: len(truncated) // 2],
        "Thumbs.db": b"of Windows",
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """1000 folders of synset ids with three images each; one that is drawn has the odd files."""
    root = tmp_path_factory.mktemp("imagenet") / "train"
    for synset in [row["synset"] for row in read_csv(SYNSETS)]:
        (root / synset).mkdir(parents=True)
        for i in range(3):
            name = f"{synset}_{i}.JPEG"
            (root / synset / name).write_bytes(encoded(noise(name)))
    odd = draw_classes(image_source(root).classes(), DATA)[7]
    for name, content in odd_files().items():
        (root / odd / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def saved(tree, tmp_path_factory):
    """The same images as rows of a dataset."""
    datasets = pytest.importorskip("datasets")
    classes = image_source(tree).classes()
    columns = {
        "image": [
            {"bytes": (tree / name).read_bytes(), "path": None}
            for images in classes.values()
            for name in images
        ],
        "label": [label for label, images in enumerate(classes.values()) for _ in images],
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))}
    folder = tmp_path_factory.mktemp("saved") / "train"
    dataset = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    dataset.save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def subset(tree, tmp_path_factory):
    return select(tree, tmp_path_factory.mktemp("subset"))


def select(root, out):
    arguments = (out / "subset.csv", out / "bad_images.csv", str(root), DATA)
    select_subset(*arguments, str(out / "state"), {})
    return out / "subset.csv"


def kl(folder):
    build_autoencoder([8, 8], CHANNELS, SIZE, seed=0).save_pretrained(folder)


def tiny(folder):
    torch.manual_seed(0)
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    AutoencoderTiny(latent_channels=CHANNELS, **widths, **blocks).save_pretrained(folder)


@pytest.fixture(scope="module", params=[kl, tiny])
def autoencoder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    request.param(folder)
    return folder


def encode(root, subset, autoencoder, out, normalize="config"):
    encode_latents(
        subset,
        out / "latents.npy",
        out / "held_out_latents.npy",
        out / "latents.json",
        str(root),
        SIZE,
        CHANNELS,
        FACTOR,
        str(autoencoder),
        None,
        normalize,
        None,
        2.5,
        "auto",
        64,
        str(out / "state"),
        {},
    )
    return np.load(out / "latents.npy"), read_json(out / "latents.json")


def test_odd_files_are_images_or_named_as_bad(tree, subset):
    rows, bad = read_csv(subset), read_csv(subset.with_name("bad_images.csv"))
    assert len({row["class"] for row in rows}) == 200
    odd = next(row["class"] for row in rows if row["path"].endswith("wide.JPEG"))
    names = {row["path"].split("/")[1] for row in rows if row["class"] == odd}
    either = {"copy.JPEG", "grey.JPEG"}
    good = odd_files().keys() - BAD.keys() - either - {"Thumbs.db"}
    assert good <= names and len(names & either) == 1
    reasons = {image["path"].split("/")[1]: image["reason"] for image in bad}
    assert len(reasons) == len(BAD)
    for name, reason in BAD.items():
        found = reasons.get(name) or reasons["grey.JPEG"]
        assert reason in found
    assert {read_image(row, tree, SIZE).shape for row in rows} == {(SIZE, SIZE, 3)}


@pytest.mark.parametrize(
    ("split", "name"), [("train", "latents.npy"), ("held_out", "held_out_latents.npy")]
)
def test_both_flips_are_encoded(tree, subset, autoencoder, tmp_path, split, name):
    _, manifest = encode(tree, subset, autoencoder, tmp_path)
    latents = LatentCache(tmp_path / name, tmp_path / "latents.json", split).moments
    rows = [row for row in read_csv(subset) if row["split"] == split]
    assert latents.shape == (len(rows), 2, 2, CHANNELS, SIZE // FACTOR, SIZE // FACTOR)
    assert manifest["splits"][split]["labels"] == [int(row["label"]) for row in rows]
    images = np.stack([read_image(row, tree, SIZE) for row in rows])
    model = load_autoencoder(autoencoder, None, CPU)
    for flip, pictures in enumerate((images, images[:, :, ::-1].copy())):
        expected = encode_moments(model, to_model_range(pictures, CPU))
        np.testing.assert_allclose(latents[:, flip], expected, rtol=2e-3, atol=2e-3)
    assert not np.array_equal(latents[:, 0], latents[:, 1])


def test_the_manifest_says_names_precision_and_scale(tree, subset, autoencoder, tmp_path):
    _, manifest = encode(tree, subset, autoencoder, tmp_path)
    names = {row["synset"]: row["name"] for row in read_csv(SYNSETS)}
    assert manifest["class_names"] == [names[synset] for synset in manifest["classes"]]
    assert manifest["autoencoder"]["precision"] == "float32"
    is_tiny = read_json(autoencoder / "config.json")["_class_name"] == "AutoencoderTiny"
    assert manifest["scale"] == [1.0 if is_tiny else 0.18215] * CHANNELS


@pytest.mark.parametrize("num_done", [128, 256])  # of 200 held-out images, of others
def test_killed_in_the_middle_it_gives_the_same_bytes(
    tree, subset, autoencoder, tmp_path, monkeypatch, num_done
):
    (tmp_path / "unbroken").mkdir()
    (tmp_path / "broken").mkdir()
    encode(tree, subset, autoencoder, tmp_path / "unbroken", "measured")
    update = resumable.Progress.update

    def dying_update(self, count=1, **shown):
        update(self, count, **shown)
        if self.done == num_done:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resumable.Progress, "update", dying_update)
        encode(tree, subset, autoencoder, tmp_path / "broken", "measured")
    encode(tree, subset, autoencoder, tmp_path / "broken", "measured")
    for name in ("latents.npy", "held_out_latents.npy", "latents.json"):
        contents = [(tmp_path / run / name).read_bytes() for run in ("unbroken", "broken")]
        assert contents[0] == contents[1]


def test_reconstructions_are_decoded_samples_of_the_posterior(tree, subset, autoencoder, tmp_path):
    encode(tree, subset, autoencoder, tmp_path)
    paths = {name: tmp_path / f"{name}.npy" for name in ("latents", "held_out_latents")}
    manifest, reconstructions = tmp_path / "latents.json", tmp_path / "reconstructions.npz"
    reconstruct(
        subset,
        **paths,
        latents_manifest=manifest,
        reconstructions=reconstructions,
        memorization_per_class=2,
        source=str(autoencoder),
        revision=None,
        precision="auto",
        batch_size=64,
        state=tmp_path / "state",
        recipe={},
    )
    made, model = load_npz(reconstructions), load_autoencoder(autoencoder, None, CPU)
    rows = [row for row in read_csv(subset) if row["split"] == "train"]
    reference = [place for place, row in enumerate(rows) if row["reference"] == "1"]
    assert len(made["reference"]) == len(reference)
    assert len(made["other_train"]) == len(other_training_rows(rows, 2))
    for name, path, split, place in (
        ("reference", paths["latents"], "train", reference[3]),
        ("held_out", paths["held_out_latents"], "held_out", 3),
    ):
        mean, std = LatentCache(path, manifest, split).moments[place, UNFLIPPED].astype(np.float32)
        eps = stream(0, f"reconstruction/{split}", place).standard_normal(mean.shape, np.float32)
        z = torch.from_numpy(mean + std * eps)[None]
        (expected,) = decode_images(model, z, [0.0] * CHANNELS, [1.0] * CHANNELS)
        assert np.abs(made[name][3].astype(int) - expected).max() <= 1


def test_equal_images_of_a_dataset_give_equal_latents(tree, saved, subset, autoencoder, tmp_path):
    (tmp_path / "tree").mkdir()
    rows = select(saved, tmp_path)
    for key in ("class", "label", "split", "reference", "sha256"):
        assert [row[key] for row in read_csv(rows)] == [row[key] for row in read_csv(subset)]
    bad = [read_csv(s.with_name("bad_images.csv")) for s in (rows, subset)]
    assert len(bad[0]) == len(bad[1]) == len(BAD)
    of_rows, manifest = encode(saved, rows, autoencoder, tmp_path)
    of_files, expected = encode(tree, subset, autoencoder, tmp_path / "tree")
    assert np.array_equal(of_rows, of_files)
    assert manifest["class_names"] == expected["class_names"]
