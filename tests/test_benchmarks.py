"""The benchmarks' plain references compute what the library does; the suite writes its ratios."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from plain.diffusion import PlainDiffusion
from plain.transformer import PlainTransformer
from ratios import equal_outputs, largest_difference, tolerance_of
from subjects import IMAGENET200, ROOT, random_tensor, randomized, tiny

from slimdit.diffusion.latent_sampler import Generator, noise_for
from slimdit.diffusion.process import Diffusion, respaced_timesteps
from slimdit.models.build import build_model
from slimdit.storage.files import read_json

BATCH = 3
LABELS = np.arange(BATCH)


def tiny_model(variant):
    model = build_model(tiny(IMAGENET200.structure(variant)))
    return randomized(model, torch.float32, std=0.1).eval()


@pytest.mark.parametrize("variant", ["S2-base", "S4-base", "MoE-S2-8E2A", "MoE-S2-4E1A"])
def test_plain_transformer_is_the_model(variant):
    model = tiny_model(variant)
    x = random_tensor("x", BATCH, 4, 8, 8, dtype=torch.float32)
    t, y = torch.tensor([0, 7, 999]), torch.from_numpy(LABELS)
    assert largest_difference([PlainTransformer(model)(x, t, y)], [model(x, t, y).output]) < 1e-4


def test_plain_sampler_makes_the_generators_latents():
    sampling = IMAGENET200.config["sampling"] | {
        "sampler": "ddim",
        "steps": 5,
        "guided_channels": "all",
        "compile": "off",
    }
    model = tiny_model("S2-base")
    generator = Generator(model, sampling, 1000, torch.device("cpu"))
    start = torch.from_numpy(noise_for(sampling["seed"], "image/start", LABELS, (4, 8, 8)))
    chain = PlainDiffusion(1000, respaced_timesteps(1000, 5))
    labels = torch.from_numpy(LABELS)
    plain = chain.ddim(PlainTransformer(model), start, labels, sampling["guidance_scale"])
    assert largest_difference([plain], [generator.latents(LABELS, LABELS)]) < 1e-4


def test_plain_loss_is_the_sum_of_the_diffusions_losses():
    x0, eps, output = (random_tensor(name, BATCH, 4, 8, 8) for name in ("x0", "eps", "output"))
    output = torch.cat([output, output.flip(0)], dim=1)
    k = torch.tensor([0, 500, 999])
    ours, plain = Diffusion(1000).double(), PlainDiffusion(1000, np.arange(1000))
    xt = ours.noised(x0, k, eps)
    torch.testing.assert_close(plain.noised(x0, k, eps), xt)
    expected = sum(ours.losses(output, x0, xt, k, eps)).mean()
    torch.testing.assert_close(plain.loss(output, x0, xt, k, eps), expected)


def test_outputs_that_differ_are_not_timed():
    with pytest.raises(ValueError, match=r"differ by 1\.0e-03, more than 0\.0001"):
        equal_outputs([torch.ones(2)], [torch.tensor([1.0, 1.001])], tolerance_of(torch.float32))
    rounded = tolerance_of(torch.bfloat16)
    assert 0 < equal_outputs([torch.ones(2)], [torch.tensor([1.0, 1.001])], rounded) < 0.01
    with pytest.raises(ValueError, match=r"differ by 1\.0e\+00"):
        equal_outputs([torch.ones(1)], [2 * torch.ones(1)], rounded)


def test_the_suite_writes_ratios_targets_and_their_origin(tmp_path):
    command = [sys.executable, "benchmarks/run.py", "--case", "latent-batches", "--num-runs", "2"]
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [*command, "--out", out], cwd=ROOT, check=True, capture_output=True, text=True
    )
    written = read_json(out)
    case = written["cases"]["latent-batches"]
    assert case["met"] == (case["speedup"] >= case["target_speedup"])
    assert {"commit", "device", "versions"} <= written["origin"].keys()
    assert f"{case['speedup']:.2f}x" in done.stdout
