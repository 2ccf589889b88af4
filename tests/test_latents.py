"""The latent cache, its batches, and the normalization that encoding measures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from latent_cache import write_latent_cache

from slimdit.core.errors import InputError
from slimdit.data.latents import LatentBatches, LatentCache, normalization

NUM_IMAGES, BATCH_SIZE = 10, 4


@pytest.fixture
def paths(tmp_path):
    return write_latent_cache(tmp_path, NUM_IMAGES)


@pytest.fixture
def cache(paths):
    return LatentCache(*paths)


def batches(cache, flip=False, seed=0, batch_size=BATCH_SIZE):
    return LatentBatches(cache, batch_size, flip, seed, torch.device("cpu"))


def whole(batches, step):
    """x0 and labels of a batch."""
    drawn = batches.draw(step, range(batches.batch_size))
    return batches.latents(*map(torch.from_numpy, drawn))


def test_every_epoch_visits_each_image_once(cache):
    """Five batches of four are two epochs of ten; the third batch spans both."""
    of_cache = batches(cache)
    images = np.concatenate([of_cache.images(step) for step in range(5)])
    assert sorted(images[:NUM_IMAGES]) == sorted(images[NUM_IMAGES:]) == list(range(NUM_IMAGES))
    assert images[:NUM_IMAGES].tolist() != images[NUM_IMAGES:].tolist()


def test_batch_may_be_larger_than_an_epoch(cache):
    images = batches(cache, batch_size=25).images(0)
    assert (np.bincount(images)[:] >= 2).all()
    assert len(images) == 25


def test_batch_is_a_function_of_its_step(cache):
    onwards, alone = batches(cache, flip=True), batches(cache, flip=True)
    expected = [whole(onwards, step) for step in range(6)]
    for step in (5, 0, 3):
        x0, labels = whole(alone, step)
        assert torch.equal(x0, expected[step][0])
        assert torch.equal(labels, expected[step][1])


def test_seed_changes_the_order(cache):
    assert batches(cache, seed=0).images(0).tolist() != batches(cache, seed=1).images(0).tolist()


def test_labels_belong_to_their_images(cache):
    of_cache = batches(cache)
    assert whole(of_cache, 1)[1].tolist() == cache.labels[of_cache.images(1)].tolist()


def test_posterior_samples_have_the_posterior_mean_and_deviation(cache):
    """Sampled in many steps, one image's latent spreads as its moments say."""
    of_cache = batches(cache, batch_size=NUM_IMAGES)
    places = [of_cache.images(step).tolist().index(3) for step in range(600)]
    samples = torch.stack([whole(of_cache, step)[0][place] for step, place in enumerate(places)])
    samples = samples / of_cache.units.scale + of_cache.units.shift
    mean, std = (torch.from_numpy(cache.moments[3, 0, i].astype(np.float32)) for i in (0, 1))
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.2)
    torch.testing.assert_close(samples.std(0), std, rtol=0.2, atol=0.02)


def test_latents_are_shifted_and_scaled_by_channel(tmp_path):
    moments = np.zeros((NUM_IMAGES, 2, 2, 4, 8, 8), np.float16)
    moments[:, :, 0] = np.arange(4).reshape(4, 1, 1)
    paths = write_latent_cache(
        tmp_path, NUM_IMAGES, moments, shift=[0.0, 1.0, 1.0, 1.0], scale=[1.0, 1.0, 2.0, 3.0]
    )
    x0, _ = whole(batches(LatentCache(*paths)), 0)
    assert x0[0, :, 0, 0].tolist() == [0.0, 0.0, 2.0, 6.0]


def test_flips_take_the_mirror_image_about_half_the_time(tmp_path):
    moments = np.zeros((NUM_IMAGES, 2, 2, 4, 8, 8), np.float16)
    moments[:, 1, 0] = 1.0
    cache = LatentCache(*write_latent_cache(tmp_path, NUM_IMAGES, moments))
    flipping = batches(cache, flip=True, batch_size=50)
    flipped = torch.cat([whole(flipping, step)[0] for step in range(10)])
    assert 0.4 < flipped.mean().item() < 0.6
    assert set(flipped.unique().tolist()) == {0.0, 1.0}
    assert whole(batches(cache), 0)[0].abs().max() == 0


@pytest.mark.parametrize("is_on_gpu", [False, True])
def test_rows_of_a_batch_are_drawn_alone(tmp_path, is_on_gpu):
    """As each of several processes draws its own: also where they begin within a block of noise."""
    cache = LatentCache(*write_latent_cache(tmp_path, NUM_IMAGES))
    of_all = batches(cache, flip=True, batch_size=80)
    of_all.is_on_gpu = is_on_gpu  # tensors are indexed as arrays are
    whole_batch = of_all.draw(3, range(80))
    for rows in (range(40), range(40, 80), range(77, 80), range(32, 64)):
        for part, all_rows in zip(of_all.draw(3, rows), whole_batch, strict=True):
            assert np.array_equal(part, all_rows[rows.start : rows.stop])


def test_damaged_array_is_an_input_error(paths):
    content = bytearray(paths[0].read_bytes())
    content[-5] ^= 1
    paths[0].write_bytes(content)
    with pytest.raises(InputError, match=r"latents\.npy is not what .*its sha256 differs"):
        LatentCache(*paths)
    paths[0].write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"latents\.npy is not what .*its sha256 differs"):
        LatentCache(*paths)


def test_measured_normalization_gives_posterior_samples_the_asked_spread():
    """Also in a channel whose posterior has collapsed: all noise, hardly any signal."""
    random = np.random.default_rng(0)
    moments = np.empty((40, 2, 2, 3, 8, 8), np.float16)
    spread, noise = np.array([5.0, 1.0, 0.05]), np.array([0.1, 1.0, 1.0])
    moments[:, :, 0] = random.normal(3.0, 1.0, moments[:, :, 0].shape) * spread[:, None, None]
    moments[:, :, 1] = noise[:, None, None]
    shift, scale = (
        np.reshape(each, (3, 1, 1)) for each in normalization(moments, "measured", None, 2.5, None)
    )
    means, stds = moments[:, :, 0].astype(np.float64), moments[:, :, 1].astype(np.float64)
    samples = means + stds * random.standard_normal(means.shape)
    np.testing.assert_allclose(((means - shift) * scale).mean((0, 1, 3, 4)), 0, atol=1e-5)
    np.testing.assert_allclose(((samples - shift) * scale).std((0, 1, 3, 4)), 2.5, rtol=0.02)


@pytest.mark.parametrize(("factor", "expected"), [(None, 0.0), (0.1159, 0.1159)])
def test_configured_normalization_is_the_autoencoders_own(factor, expected):
    autoencoder = SimpleNamespace(
        config=SimpleNamespace(scaling_factor=0.18215, shift_factor=factor)
    )
    moments = np.zeros((1, 2, 2, 4, 8, 8), np.float16)
    for named, scale in ((None, 0.18215), (0.5, 0.5)):
        found = normalization(moments, "config", named, 2.5, autoencoder)
        assert found == ([expected] * 4, [scale] * 4)
