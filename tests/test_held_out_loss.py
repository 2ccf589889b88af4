"""The denoising error on held-out images."""

import numpy as np
import pytest
import torch
from subjects import PHOTOS, tiny

from held_out_loss import held_out_loss
from slimdit.core.randomness import stream
from slimdit.data.autoencoders import encode_moments, load_autoencoder, to_model_range
from slimdit.data.latents import MEAN, STD
from slimdit.diffusion.process import Diffusion
from slimdit.models.build import build_model
from slimdit.models.checkpoint import save_variant
from slimdit.storage.files import read_json, write_json, write_npz
from slimdit.training.autoencoder import build_autoencoder
from slimdit.training.held_out_loss import drawn, held_out_losses

CPU = torch.device("cpu")
STRUCTURE = tiny(PHOTOS.structure("S2-base"))
NUM_IMAGES, IMAGE_SIZE, NUM_DRAWS, NUM_TIMESTEPS = 7, 16, 3, 50
IMAGES = stream(0, "images").integers(0, 256, (NUM_IMAGES, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
LABELS = np.arange(NUM_IMAGES) % 3
MANIFEST = {"shift": [0.1, 0.0, -0.1, 0.2], "scale": [1.5, 1.0, 0.5, 2.0]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder")
    build_autoencoder([8, 8], 4, IMAGE_SIZE, seed=0).save_pretrained(folder)
    return str(folder)


def losses(model, source, batch_size=64):
    options = (NUM_DRAWS, NUM_TIMESTEPS, batch_size, torch.float32, torch.float32, CPU)
    autoencoder = load_autoencoder(source, None, CPU)
    return held_out_losses(model, autoencoder, MANIFEST, IMAGES, LABELS, *options)


def noisy_model():
    """Whose output is not the zero that it starts with."""
    model = build_model(STRUCTURE, seed=0).eval()
    with torch.no_grad():
        model.final_layer.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def test_it_is_the_mean_squared_error_of_the_noise_of_each_image(source):
    model, found = noisy_model(), losses(noisy_model(), source)
    shift, scale = (torch.tensor(MANIFEST[key]).view(-1, 1, 1) for key in ("shift", "scale"))
    autoencoder = load_autoencoder(source, None, CPU)
    for row, label in enumerate(LABELS):
        (moments,) = encode_moments(autoencoder, to_model_range(IMAGES[[row]], CPU))
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


def test_images_are_drawn_alike_in_every_batch(source):
    model = noisy_model()
    np.testing.assert_allclose(losses(model, source), losses(model, source, 1), rtol=1e-5)


def test_a_model_that_predicts_nothing_has_the_loss_of_the_noise(source):
    """Its output layer starts with zeros: the mean square of the noise, which is about 1."""
    found = losses(build_model(STRUCTURE, seed=0).eval(), source)
    assert found.mean() == pytest.approx(1.0, abs=0.05)


def test_the_script_writes_what_differences_are_judged_by(source, tmp_path):
    model, loss = noisy_model(), tmp_path / "held_out_loss.json"
    checkpoint, manifest = tmp_path / "checkpoint.safetensors", tmp_path / "latents.json"
    save_variant(checkpoint, model, STRUCTURE, [], {"seed": 0})
    write_json(manifest, MANIFEST)
    write_npz(tmp_path / "reference.npz", held_out_images=IMAGES, held_out_labels=LABELS)
    held_out_loss(
        checkpoint,
        manifest,
        tmp_path / "reference.npz",
        loss,
        variant="S2-base",
        seed=0,
        num_timesteps=NUM_TIMESTEPS,
        num_draws=NUM_DRAWS,
        batch_size=64,
        precision="float32",
        encode_precision="float32",
        groups_seed=0,
        source=source,
        revision=None,
        recipe={"step": "held_out_loss"},
    )
    report, expected = read_json(loss), losses(model, source)
    assert report["held_out_loss"]["whole"] == expected.mean()
    assert len(report["held_out_loss"]["left_out"]) == NUM_IMAGES // 2
    assert (report["num_images"], report["num_draws"]) == (NUM_IMAGES, NUM_DRAWS)
    assert len(report["origin"]["inputs"]) == 3
