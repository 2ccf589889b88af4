"""The denoising error on held-out images."""

import numpy as np
import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, tiny

from held_out_loss import held_out_loss
from slimdit.data.latents import MEAN, STD, UNFLIPPED, LatentCache
from slimdit.diffusion.process import Diffusion
from slimdit.models.build import build_model
from slimdit.models.checkpoint import save_variant
from slimdit.storage.files import read_json
from slimdit.training.held_out_loss import drawn, held_out_losses

CPU = torch.device("cpu")
STRUCTURE = tiny(PHOTOS.structure("S2-base"))
NUM_IMAGES, NUM_DRAWS, NUM_TIMESTEPS = 7, 3, 50
UNITS = {"shift": [0.1, 0.0, -0.1, 0.2], "scale": [1.5, 1.0, 0.5, 2.0]}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    return write_latent_cache(folder, NUM_IMAGES, **UNITS, split="held_out")


@pytest.fixture(scope="module")
def cache(paths):
    return LatentCache(*paths, "held_out")


def losses(model, cache, batch_size=64):
    options = (NUM_DRAWS, NUM_TIMESTEPS, batch_size, torch.float32, CPU)
    return held_out_losses(model, cache, *options)


def noisy_model():
    """Whose output is not the zero that it starts with."""
    model = build_model(STRUCTURE, seed=0).eval()
    with torch.no_grad():
        model.final_layer.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def test_it_is_the_mean_squared_error_of_the_noise_of_each_image(cache):
    model, found = noisy_model(), losses(noisy_model(), cache)
    shift, scale = (torch.tensor(UNITS[key]).view(-1, 1, 1) for key in ("shift", "scale"))
    for row, label in enumerate(cache.labels):
        moments = torch.from_numpy(cache.moments[row, UNFLIPPED].astype(np.float32))
        draws = drawn(np.array([row]), NUM_DRAWS, NUM_TIMESTEPS, moments.shape[1:])
        errors = []
        for k, posterior, noise in zip(*map(torch.from_numpy, draws), strict=True):
            x0 = (moments[MEAN] + moments[STD] * posterior - shift) * scale
            with torch.no_grad():
                xt = Diffusion(NUM_TIMESTEPS).add_noise(x0[None], k[None], noise[None])
                output = model(xt, k[None], torch.tensor([label])).output
            errors.append((output[0, : len(scale)] - noise).square().mean().item())
        assert found[row] == pytest.approx(np.mean(errors), rel=1e-5)


def test_each_part_of_the_timesteps_is_drawn_once():
    timesteps, _, _ = drawn(np.arange(20), 4, 1000, (1, 1, 1))
    assert (timesteps.reshape(20, 4) // 250).tolist() == [[0, 1, 2, 3]] * 20


def test_images_are_drawn_alike_in_every_batch(cache):
    model = noisy_model()
    np.testing.assert_allclose(losses(model, cache), losses(model, cache, 1), rtol=1e-5)


def test_a_model_that_predicts_nothing_has_the_loss_of_the_noise(cache):
    """Its output layer starts with zeros: the mean square of the noise, which is about 1."""
    found = losses(build_model(STRUCTURE, seed=0).eval(), cache)
    assert found.mean() == pytest.approx(1.0, abs=0.05)


def test_the_script_writes_what_differences_are_judged_by(paths, cache, tmp_path):
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
    report, expected = read_json(loss), losses(model, cache)
    assert report["held_out_loss"]["whole"] == expected.mean()
    assert len(report["held_out_loss"]["left_out"]) == NUM_IMAGES // 2
    assert (report["num_images"], report["num_draws"]) == (NUM_IMAGES, NUM_DRAWS)
    assert len(report["origin"]["inputs"]) == 3
