"""Guidance by the null class or by another model, in an interval of noise levels or everywhere."""

import numpy as np
import pytest
import torch
from subjects import PHOTOS, random_tensor, randomized, tiny

from slimdit.diffusion.guidance import (
    Denoiser,
    Guidance,
    guidance_scales,
    guided_steps,
    num_passes,
)
from slimdit.diffusion.guides import INPUT
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.diffusion.process import Diffusion, alpha_bars
from slimdit.models.build import build_model, compress
from slimdit.study.config_check import config_problems
from slimdit.study.steps import STEPS as STUDY_STEPS
from slimdit.study.study import Study

T, STEPS = 1000, 10
CPU = torch.device("cpu")
SAMPLING = PHOTOS.config["sampling"] | {"steps": STEPS, "batch_size": 3, "guidance_scale": 2.0}
INDICES, LABELS = np.arange(3), np.array([0, 1, 2])


def model_of(variant):
    model = build_model(tiny(PHOTOS.structure(variant)), seed=0)
    return randomized(model, torch.float32, std=0.1).eval()


@pytest.fixture(scope="module")
def model():
    return model_of("S2-base")


@pytest.fixture(scope="module")
def worse():
    return model_of("XS4-base")


def sampled(model, guiding=None, **changes):
    sampler = LatentSampler(model, SAMPLING | changes, T, CPU, guiding)
    return sampler.latents(INDICES, LABELS)


@pytest.fixture
def inputs(model):
    """x, k, labels, and what the models see."""
    k, x = torch.tensor([4]), random_tensor("x", 3, 4, 8, 8, dtype=torch.float32)
    return x[:, : model.in_channels], k, torch.from_numpy(LABELS)


def predicted(model, x, t, y):
    return model(x, t.expand(len(x)), y).output.chunk(2, dim=1)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("is_guided", [True, False])
@pytest.mark.parametrize("by_worse", [True, False])
@torch.inference_mode()
def test_guidance_goes_from_the_weak_prediction_through_the_strong(
    model, worse, inputs, scale, is_guided, by_worse
):
    x, k, y = inputs
    diffusion = Diffusion(T)
    own, other = (Denoiser(each, diffusion, "float32", CPU) for each in (model, worse))
    guidance = Guidance(own, other if by_worse else None, scale, model.in_channels)
    eps, v, _ = guidance(x, k, guidance.classes(y), is_guided)
    strong, variance = predicted(model, x, k, y)
    null = torch.full_like(y, model.null_class)
    weak, _ = predicted(worse, x, k, y) if by_worse else predicted(model, x, k, null)
    torch.testing.assert_close(v, variance)
    expected = weak + scale * (strong - weak) if is_guided else strong
    torch.testing.assert_close(eps, expected)


@torch.inference_mode()
def test_channels_that_are_not_guided_are_the_strong_prediction(model, inputs):
    x, k, y = inputs
    guidance = Guidance(Denoiser(model, Diffusion(T), "float32", CPU), None, 4.0, 3)
    eps, *_ = guidance(x, k, guidance.classes(y), True)
    strong, _ = predicted(model, x, k, y)
    torch.testing.assert_close(eps[:, 3:], strong[:, 3:])
    assert not torch.allclose(eps[:, :3], strong[:, :3])


def test_an_interval_is_of_noise_over_signal():
    interval = SAMPLING | {"guidance_interval": [0.5, 3.0], "timesteps": "trailing"}
    found = guided_steps(interval, T)
    kept = np.arange(T // STEPS, T + 1, T // STEPS) - 1
    levels = np.sqrt(1 / alpha_bars(T)[kept] - 1)
    assert found.tolist() == [0.5 < level <= 3.0 for level in levels]
    assert 0 < found.sum() < STEPS
    assert not guided_steps(interval | {"guidance_scale": 1.0}, T).any()
    assert guided_steps(SAMPLING, T).all()


def test_passes_are_counted_as_they_are_made(model, worse):
    """By hooks on both models."""
    calls = {"own": 0, "guide": 0}

    def counting(name):
        return lambda module, inputs, output: calls.update({name: calls[name] + len(output)})

    hooks = [
        each.patch_embedder.register_forward_hook(counting(name))
        for name, each in (("own", model), ("guide", worse))
    ]
    try:
        for changes in (
            {},
            {"guidance_scale": 1.0},
            {"guidance_interval": [0.5, 3.0]},
            {"guide": "XS4-base"},
            {"guide": "XS4-base", "guidance_interval": [0.5, 3.0]},
        ):
            calls |= {"own": 0, "guide": 0}
            sampled(model, worse if "guide" in changes else None, **changes)
            full, cached = num_passes(SAMPLING | changes, T)
            assert calls == {"own": 3 * full.own, "guide": 3 * full.guide}
            assert cached == (0, 0)
    finally:
        for hook in hooks:
            hook.remove()


def test_an_interval_of_all_levels_changes_nothing_and_of_none_is_no_guidance(model):
    everywhere = sampled(model, guidance_interval=[0.0, 1e9])
    assert torch.equal(everywhere, sampled(model))
    nowhere = sampled(model, guidance_interval=[1e8, 1e9])
    torch.testing.assert_close(nowhere, sampled(model, guidance_scale=1.0))


def test_a_model_that_guides_itself_changes_nothing(model):
    itself = sampled(model, model, guide="S2-base", guidance_scale=4.0)
    torch.testing.assert_close(itself, sampled(model, guidance_scale=1.0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"guidance_interval": [0.5, 3.0]}, {"guide": "XS4-base"}])
def test_compiled_steps_sample_the_same_images(model, worse, changes):
    guide = worse if "guide" in changes else None
    expected = sampled(model, guide, **changes)
    compiled = sampled(model, guide, compile="on", **changes)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-3)


def test_a_model_that_is_told_the_scale_guides_itself_in_one_pass(inputs):
    model = randomized(
        compress(model_of("S2-base"), [{"name": "guidance_input"}]), torch.float32, 0.1
    )
    x, k, y = inputs
    told = SAMPLING | {"guide": INPUT, "guidance_interval": [0.5, 3.0]}
    assert num_passes(told, T) == ((STEPS, 0), (0, 0))
    scales = guidance_scales(told, T)
    assert {*scales} == {1.0, 2.0}
    sampler = LatentSampler(model, told, T, CPU)
    for step in (0, int(scales.argmax())):
        k = torch.tensor([step])
        eps, v, _ = sampler.guidance(x, k, sampler.guidance.classes(y), sampler.is_guided[step])
        times = sampler.diffusion.timesteps[k].expand(len(x))
        beta = torch.full((len(x),), 1 / scales[step], dtype=torch.float32)
        expected = model(x, times, y, beta).output.chunk(2, dim=1)
        torch.testing.assert_close((eps, v), expected, rtol=1e-5, atol=1e-5)


def test_a_scale_that_is_not_taught_yet_is_none(model):
    told = compress(model_of("S2-base"), [{"name": "guidance_input"}])
    unguided = sampled(model, guidance_scale=1.0)
    assert torch.equal(sampled(told, guide=INPUT, guidance_scale=3.0), unguided)


def test_an_interval_scales_with_measured_latents(config):
    config["variants"]["S2-base"]["sampling"] = {"guidance_interval": [0.4, 3.0]}
    assert Study(config).sampling("S2-base")["guidance_interval"] == [1.0, 7.5]
    config["autoencoder"]["normalize"] = "config"
    assert Study(config).sampling("S2-base")["guidance_interval"] == [0.4, 3.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance_interval": [3.0, 1.0]}, "guidance_interval ends at 2.5 and begins at 7.5"),
        ({"guidance_interval": [1.0]}, "guidance_interval is [1.0]; it should be null, or a list"),
        ({"guide": "XS9"}, "guide: 'XS9' is unknown"),
        ({"guide": "S2-base"}, "guide S2-base has the row's own weights; name a row of a worse"),
        ({"guide": "XS2-base", "guidance_scale": 1.0}, "guide has no effect with guidance_scale"),
        ({"guide": "input"}, "guide is input, which S2-base was not trained with; name a row, or"),
        ({"guide": "input", "guidance_scale": 0.5}, "guidance_scale is 0.5; beside an input it is"),
        (
            {"guide": "input", "guided_channels": 3},
            "guided_channels has no effect beside the guide",
        ),
        (
            {"guidance_interval": [0.1, 1.0], "guidance_scale": 1.0},
            "guidance_interval has no effect with guidance_scale 1.0",
        ),
    ],
)
def test_guidance_that_cannot_be_is_told(config, changes, message):
    config["variants"]["own"] = {"group": "Own", "from": "S2-base", "sampling": changes}
    assert message in "\n".join(config_problems(config))


def test_the_code_of_a_guide_is_a_part_of_what_it_guides(config):
    config["variants"]["own"] = {
        "group": "Own",
        "from": "S2-base",
        "sampling": {"guide": "S2-shallow"},
    }
    study = Study(config)
    for step in ("sample", "count_cost", "measure_speed"):
        used = STUDY_STEPS[step].components(study, "own")["attention"]
        assert used == {"full", "shallow"}
    assert STUDY_STEPS["evaluate"].components(study, "own").keys() == {"extractor"}
