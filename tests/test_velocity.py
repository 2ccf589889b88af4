"""Models of velocities: what the chain of noise gets from them, and where they are refused."""

import copy

import numpy as np
import pytest
import torch
from published_models import TINY, dit_output, dit_tensors
from safetensors.torch import save_file
from subjects import load_config, merged, random_tensor
from torch.testing import assert_close

from slimdit.core.errors import InputError
from slimdit.diffusion.guidance import Denoiser
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.diffusion.process import Diffusion, alpha_bars
from slimdit.diffusion.timesteps import chosen_timesteps
from slimdit.diffusion.velocity import VelocitySteps
from slimdit.models.build import build_model, empty_model
from slimdit.models.published import FORMATS
from slimdit.models.published.format import exportable
from slimdit.study.config_check import config_problems

T, STEPS, CPU = 1000, 7, torch.device("cpu")
KEPT = chosen_timesteps("trailing", T, STEPS)
TOWARD = pytest.mark.parametrize("toward", ["noise", "data"])
SIT = FORMATS.build({"name": "sit"})


@pytest.fixture
def diffusion():
    return Diffusion(T, KEPT)


def model_of(path, toward):
    published = SIT.read(path, TINY["num_heads"])
    model = empty_model(published.structure | {"velocity": toward})
    model.load_state_dict(published.state)
    return model.eval()


@TOWARD
def test_the_velocity_of_one_image_gives_the_noise_that_was_added(diffusion, toward):
    steps, sign = VelocitySteps(diffusion, toward), {"noise": 1, "data": -1}[toward]
    x0, eps = (random_tensor(what, 2, 4, 8, 8, dtype=torch.float32) for what in ("x0", "eps"))
    for k in range(STEPS):
        alpha = float(np.sqrt(alpha_bars(T)[KEPT[k]]))
        sigma = float(np.sqrt(1 - alpha**2))
        index = torch.tensor([k])
        point = steps.point(alpha * x0 + sigma * eps, index)
        s = sigma / (alpha + sigma)
        assert_close(point, (1 - s) * x0 + s * eps, rtol=1e-5, atol=1e-5)
        assert_close(steps.noise(point, sign * (eps - x0), index), eps, rtol=1e-4, atol=1e-4)
        assert float(steps.times[k]) == pytest.approx(s if toward == "noise" else 1 - s, abs=1e-6)


@TOWARD
@torch.inference_mode()
def test_a_model_is_asked_in_its_own_units(diffusion, toward, tmp_path):
    tensors = dit_tensors(TINY)
    torch.save({"ema": tensors, "model": {}}, tmp_path / "sit.pt")
    model = model_of(tmp_path / "sit.pt", toward)
    denoiser = Denoiser(model, diffusion, "float32", CPU)
    x, y = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32), torch.tensor([1, 4])
    for k in (0, 3, STEPS - 1):
        alpha_bar = alpha_bars(T)[KEPT[k]]
        alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        s = sigma / (alpha + sigma)
        point, time = x.double() / (alpha + sigma), s if toward == "noise" else 1 - s
        times = torch.full((2,), time, dtype=torch.float64)
        velocity = dit_output(tensors, point, times, y, TINY["num_heads"])[:, :4]
        expected = point + (1 - s) * (velocity if toward == "noise" else -velocity)
        eps, _, _ = denoiser(x, torch.tensor([k]), denoiser.classes(y))
        assert_close(eps, expected.float(), rtol=1e-4, atol=1e-4)


def test_what_repa_has_for_its_training_is_left_out(tmp_path):
    """Its last layer has no second half: the same noise, and zeros for a variance."""
    tensors = dit_tensors(TINY)
    repa = tensors | {"projectors.0.0.weight": torch.zeros(3, 3)}
    for kind in ("weight", "bias"):
        halves = tensors[f"final_layer.linear.{kind}"].unflatten(0, (-1, 2, 4))
        repa[f"final_layer.linear.{kind}"] = halves[:, 0].flatten(0, 1).contiguous()
    torch.save(tensors, tmp_path / "sit.pt")
    save_file(repa, tmp_path / "repa.safetensors")
    sampling = load_config()["sampling"] | {"steps": 3, "batch_size": 2}
    indices, labels = np.arange(2), np.array([0, 3])
    found = [
        LatentSampler(model_of(tmp_path / name, "noise"), sampling, T, CPU).latents(indices, labels)
        for name in ("sit.pt", "repa.safetensors")
    ]
    assert_close(*found)


def test_blocks_that_repa_counted_anew_are_counted_on(tmp_path):
    tensors = dit_tensors(TINY)
    first = {name.replace("blocks.1.", "decoder_blocks.0."): each for name, each in tensors.items()}
    states = []
    for name, each in (("now.safetensors", tensors), ("first.safetensors", first)):
        save_file(each, tmp_path / name)
        states.append(SIT.read(tmp_path / name, TINY["num_heads"]).state)
    assert_close(*states, rtol=0, atol=0)


def test_a_model_of_velocities_is_no_dit_to_export(tmp_path):
    structure = TINY | {"velocity": "noise"}
    with pytest.raises(InputError, match="it predicts velocities, and a DiT noise"):
        exportable(build_model(structure, seed=0), structure, "checkpoint")
    published = exportable(build_model(TINY, seed=0), TINY, "checkpoint")
    with pytest.raises(InputError, match="cannot be written as sit"):
        SIT.write(tmp_path / "sit.safetensors", published)


OWN = {
    "sampling": {"sampler": "ddim"},
    "backbones": {"XL": {"velocity": "data"}},
    "variants": {"XL2": {"pretrained": {"source": __file__, "format": "sit"}}},
}
PROBLEMS = {
    "sampler": ({"sampling": {"sampler": "ddpm"}}, "has not; name ddim, dpmpp_2m or unipc."),
    "images": (
        {"data": {"images": "data/own", "reference_statistics": None}},
        "write data.images: null",
    ),
    "trained": (
        {"variants": {"own": {"group": "Own", "backbone": "XL", "patch_size": 2}}},
        "variants.own is trained to predict noise; its backbone should be one without velocity.",
    ),
    "unnamed": (
        {"variants": {"XL2-in-diffusers": {"pretrained": {"format": "sit"}}}},
        "backbones.XL-in-diffusers.velocity is missing",
    ),
}


def test_published_velocities_are_sampled_by_any_solver_of_noise():
    assert config_problems(merged(load_config("configs/dit-xl-2.yaml"), OWN)) == []


@pytest.mark.parametrize("changes, said", PROBLEMS.values(), ids=PROBLEMS)
def test_what_has_no_velocity_is_refused(changes, said):
    config = merged(merged(load_config("configs/dit-xl-2.yaml"), OWN), copy.deepcopy(changes))
    assert any(said in problem for problem in config_problems(config))
