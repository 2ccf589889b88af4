"""Sampler steps against their formulas, and images that depend on nothing but their index."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from subjects import random_tensor, randomized
from torch import nn

from slimdit.core.errors import InputError
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for
from slimdit.diffusion.process import Diffusion
from slimdit.diffusion.sample_files import joined
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.diffusion.timesteps import SPACINGS, linspace
from slimdit.models.build import build_model
from slimdit.storage.files import sha256_of

T, STEPS = 1000, 10
CPU = torch.device("cpu")
SAMPLING = {
    "sampler": "ddim",
    "steps": STEPS,
    "timesteps": "linspace",
    "guidance_scale": 2.0,
    "guided_channels": "all",
    "guidance_interval": None,
    "guide": None,
    "cache": None,
    "seed": 0,
    "batch_size": 3,
    "precision": "float32",
    "compile": "off",
}


@pytest.fixture
def step_inputs():
    k = torch.tensor([0, 1, 5, STEPS - 1])
    x, eps, v, noise = (random_tensor(n, 4, 3, 2, 2).float() for n in ("x", "eps", "v", "noise"))
    return x, k, eps, v, noise


def chain():
    return Diffusion(T, linspace(T, STEPS))


def coefficients(k):
    """alpha_bar at k and before it, in float64, of the respaced process."""
    kept = np.round(np.arange(STEPS) * (T - 1) / (STEPS - 1)).astype(int)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 2e-2, T))[kept]
    previous = np.append(1.0, alpha_bar[:-1])
    return (torch.tensor(a[k]).view(-1, 1, 1, 1) for a in (alpha_bar, previous))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_equals_its_formula(eta, step_inputs):
    x, k, eps, v, noise = step_inputs
    a, previous = coefficients(k)
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    sigma = eta * ((1 - previous) / (1 - a)).sqrt() * (1 - a / previous).sqrt()
    direction = (1 - previous - sigma**2).sqrt()
    expected = previous.sqrt() * x0 + direction * eps + sigma * noise
    (actual,) = SAMPLERS["ddim"](chain(), eta).step(x, k, eps, v, noise)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-3, atol=1e-3)


def test_ddim_is_by_default_without_noise(step_inputs):
    x, k, eps, v, noise = step_inputs
    default, without_noise = SAMPLERS["ddim"](chain()), SAMPLERS["ddim"](chain(), eta=0.0)
    assert not default.needs_noise
    (expected,) = without_noise.step(x, k, eps, v, noise)
    assert torch.equal(*default.step(x, k, eps, v, None), expected)


def test_ddpm_step_equals_its_formula(step_inputs):
    x, k, eps, v, noise = step_inputs
    a, previous = coefficients(k)
    beta = 1 - a / previous
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    mean = (beta * previous.sqrt() * x0 + (1 - previous) * (1 - beta).sqrt() * x) / (1 - a)
    variance = beta * (1 - previous) / (1 - a)
    fraction = (v.double() + 1) / 2
    deviation = (0.5 * (fraction * beta.log() + (1 - fraction) * variance.log())).exp()
    expected = mean + torch.where(k.view(-1, 1, 1, 1) == 0, 0.0, deviation * noise)
    (actual,) = SAMPLERS["ddpm"](chain()).step(x, k, eps, v, noise)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-3, atol=1e-3)


class PointMass(nn.Module):
    """The perfect predictor of data that is always `x0`."""

    in_channels, input_size, null_class, hidden_size, velocity = 3, 2, 5, 1, None
    takes_guidance = False

    def __init__(self, x0):
        super().__init__()
        self.x0, self.diffusion = x0, Diffusion(T)

    def timestep_embedder(self, t):
        return t[:, None]

    def label_embedder(self, y):
        return torch.zeros_like(y)[:, None]

    def conditioned(self, x, c):
        t = c[:, 0]
        eps = x - self.diffusion.at("sqrt_alpha_bar", t) * self.x0
        eps = eps / self.diffusion.at("sqrt_one_minus_alpha_bar", t)
        return SimpleNamespace(output=torch.cat([eps, -torch.ones_like(eps)], 1))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("timesteps", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_perfect_predictor_of_one_image_samples_that_image(sampler, timesteps, steps):
    x0 = random_tensor("x0", 3, 2, 2).float()
    options = SAMPLING | {"sampler": sampler, "timesteps": timesteps, "steps": steps}
    latents = LatentSampler(PointMass(x0), options, T, CPU).latents(np.arange(2), np.zeros(2, int))
    torch.testing.assert_close(latents, x0.expand(2, -1, -1, -1), rtol=0, atol=1e-3)


@pytest.fixture
def model(structure):
    return randomized(build_model(structure), torch.float32, std=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": "ddpm"},
        {"options": {"eta": 1.0}, "timesteps": "uniform_lambda"},
        {"sampler": "dpmpp_2m", "timesteps": "trailing"},
        {"sampler": "unipc", "timesteps": "optimised"},
    ],
)
def test_image_is_the_same_in_any_batch_and_order(model, options):
    generator = LatentSampler(model, SAMPLING | options, T, CPU)
    labels = np.array([0, 1, 2])
    together = generator.latents(np.arange(3), labels)
    backwards = generator.latents(np.arange(3)[::-1].copy(), labels[::-1].copy()).flip(0)
    alone = torch.cat([generator.latents(np.array([i]), labels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, backwards, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": "ddpm", "guidance_scale": 1.0},
        {"sampler": "dpmpp_2m", "timesteps": "trailing", "guidance_scale": 1.0},
        {"sampler": "unipc", "timesteps": "trailing"},
    ],
)
def test_compiled_step_is_one_graph_and_samples_the_same_images(model, options):
    """Fewer images are sampled by the graph of more."""
    eager = LatentSampler(model, SAMPLING | options, T, CPU)
    compiled = LatentSampler(model, SAMPLING | options | {"compile": "on"}, T, CPU)
    torch._dynamo.utils.counters.clear()
    for count in (3, 1):
        indices, labels = np.arange(count), np.arange(count) % 3
        expected, latents = (g.latents(indices, labels) for g in (eager, compiled))
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize(
    ("device", "batch_size", "expected"),
    [("cpu", 1, None), ("cuda", 32, "reduce-overhead"), ("cuda", 33, None)],
)
def test_steps_of_small_batches_on_cuda_are_graphs_of_kernels(
    model, monkeypatch, device, batch_size, expected
):
    modes = []
    monkeypatch.setattr(torch, "compile", lambda step, mode, **options: modes.append(mode) or step)
    sampler = LatentSampler(model, SAMPLING | {"batch_size": batch_size}, T, CPU)
    sampler.device = torch.device(device)
    assert sampler.compiled_step and modes == [expected]


def test_bfloat16_samples_nearly_the_same_images_in_float32(model):
    indices, labels = np.arange(2), np.array([0, 2])
    exact = LatentSampler(model, SAMPLING, T, CPU).latents(indices, labels)
    half = LatentSampler(model, SAMPLING | {"precision": "bfloat16"}, T, CPU).latents(
        indices, labels
    )
    assert half.dtype == torch.float32
    assert 0 < (half - exact).norm() / exact.norm() < 0.05


def test_prompts_start_from_noise_of_their_own(model):
    generator, index, label = LatentSampler(model, SAMPLING, T, CPU), np.array([0]), np.array([0])
    image, prompt = (generator.latents(index, label, name) for name in ("image", "prompt"))
    assert not torch.allclose(image, prompt)


def test_more_guided_channels_than_the_latent_has_is_an_input_error(model):
    with pytest.raises(InputError, match=r"sampling\.guided_channels 5"):
        LatentSampler(model, SAMPLING | {"guided_channels": 5}, T, CPU)


def test_balanced_labels_take_turns():
    assert labels_for(7, 3, "balanced", 0).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_random_labels_reach_every_class_and_depend_on_the_seed():
    labels = labels_for(500, 3, "random", 0)
    assert set(labels.tolist()) == {0, 1, 2}
    assert (labels != labels_for(500, 3, "random", 1)).any()


def test_shards_are_joined_only_if_whole_and_of_one_type(tmp_path):
    paths = [tmp_path / f"{part}.npy" for part in "ab"]
    for value, path in enumerate(paths):
        np.save(path, np.full((2, 4, 4, 3), value, np.uint8))
    reports = [{"images_sha256": sha256_of(path), "dtype": "float32"} for path in paths]
    assert joined(paths, reports, "float32")[:, 0, 0, 0].tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match=r"b\.npy was made in bfloat16, but here .* float32"):
        joined(paths, [reports[0], reports[1] | {"dtype": "bfloat16"}], "float32")
    np.save(paths[0], np.zeros((2, 4, 4, 3), np.uint8) + 9)
    with pytest.raises(InputError, match=r"a\.npy is damaged"):
        joined(paths, reports, "float32")
