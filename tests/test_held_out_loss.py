"""The denoising error on held-out images."""

import numpy as np
import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, tiny

from held_out_loss import held_out_loss
from slimdit.data.latents import MEAN, STD, LatentCache
from slimdit.diffusion.process import Diffusion
from slimdit.models.build import build_model
from slimdit.models.checkpoint import save_variant
from slimdit.storage.files import read_json
from slimdit.training.held_out_loss import _drawn, held_out_losses

CPU = torch.device("cpu")
STRUCTURE = tiny(PHOTOS.structure("S2-base"))
NUM_TRAIN, NUM_HELD_OUT, NUM_DRAWS, NUM_TIMESTEPS = 5, 7, 3, 50


@pytest.fixture
def paths(tmp_path):
    count = NUM_TRAIN + NUM_HELD_OUT
    scale = [1.5, 1.0, 0.5, 2.0]
    return write_latent_cache(tmp_path, count, scale=scale, num_train=NUM_TRAIN)


def losses(model, paths, batch_size=64):
    cache = LatentCache(*paths, held_out=True)
    return held_out_losses(model, cache, NUM_DRAWS, NUM_TIMESTEPS, batch_size, torch.float32, CPU)


def noisy_model():
    """Whose output is not the zero that it starts with."""
    model = build_model(STRUCTURE, seed=0).eval()
    with torch.no_grad():
        model.final_layer.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def test_training_images_are_not_held_out(paths):
    array = np.load(paths[0])
    train, held_out = LatentCache(*paths), LatentCache(*paths, held_out=True)
    np.testing.assert_array_equal(train.moments, array[:NUM_TRAIN])
    np.testing.assert_array_equal(held_out.moments, array[NUM_TRAIN:])
    assert held_out.labels.tolist() == [i % 3 for i in range(NUM_TRAIN, NUM_TRAIN + NUM_HELD_OUT)]


def test_it_is_the_mean_squared_error_of_the_noise_of_each_image(paths):
    model, cache = noisy_model(), LatentCache(*paths, held_out=True)
    diffusion = Diffusion(NUM_TIMESTEPS)
    scale = torch.tensor(cache.manifest["scale"]).view(-1, 1, 1)
    found = losses(model, paths)
    for row, label in enumerate(cache.labels):
        moments = torch.tensor(cache.moments[row, 0]).float()
        timesteps, (posterior, noise) = _drawn(row, NUM_DRAWS, NUM_TIMESTEPS, moments.shape[1:])
        errors = []
        for k, own, eps in zip(timesteps, posterior, noise, strict=True):
            x0 = (moments[MEAN] + moments[STD] * torch.from_numpy(own)) * scale
            eps, k = torch.from_numpy(eps)[None], torch.tensor([k])
            with torch.no_grad():
                xt = diffusion.add_noise(x0[None], k, eps)
                output = model(xt, k, torch.tensor([label])).output
            errors.append((output[:, : len(scale)] - eps).square().mean().item())
        assert found[row] == pytest.approx(np.mean(errors), rel=1e-5)


def test_each_part_of_the_timesteps_is_drawn_once():
    for row in range(20):
        timesteps, _ = _drawn(row, 4, 1000, (1, 1, 1))
        assert (timesteps // 250).tolist() == [0, 1, 2, 3]


def test_images_are_drawn_alike_in_every_batch(paths):
    model = noisy_model()
    np.testing.assert_allclose(losses(model, paths), losses(model, paths, batch_size=1), rtol=1e-5)


def test_a_model_that_predicts_nothing_has_the_loss_of_the_noise(paths):
    """Its output layer starts with zeros: the mean square of the noise, which is about 1."""
    found = losses(build_model(STRUCTURE, seed=0).eval(), paths)
    assert found.mean() == pytest.approx(1.0, abs=0.05)


def test_the_script_writes_the_mean_its_error_and_what_it_is_of(paths, tmp_path):
    model, loss = noisy_model(), tmp_path / "held_out_loss.json"
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_variant(checkpoint, model, STRUCTURE, [], {"seed": 0})
    held_out_loss(
        checkpoint,
        *paths,
        loss,
        variant="S2-base",
        seed=0,
        num_timesteps=NUM_TIMESTEPS,
        num_draws=NUM_DRAWS,
        batch_size=64,
        precision="float32",
        groups_seed=0,
        recipe={"step": "held_out_loss"},
    )
    report, expected = read_json(loss), losses(model, paths)
    assert report["held_out_loss"] == expected.mean()
    assert (report["num_images"], report["num_draws"]) == (NUM_HELD_OUT, NUM_DRAWS)
    assert len(report["left_out"]) == NUM_HELD_OUT // 2
    spread = np.std(expected, ddof=1) / np.sqrt(NUM_HELD_OUT)
    assert report["held_out_loss_standard_error"] == pytest.approx(spread, rel=0.9)
    assert len(report["origin"]["inputs"]) == 3
