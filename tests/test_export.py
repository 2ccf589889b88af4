"""Checkpoints that are exported: the same image through diffusers' own pipeline, and refusals."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from published_models import TINY, structure_of
from safetensors.torch import load_file
from subjects import ROOT, randomized
from torch.testing import assert_close

from slimdit.data.autoencoders import decode_images
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.export import export, main
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import save_variant

STEPS, SCALE, SCALING = 5, 1.5, 0.18215


def saved(path, structure, operations=()):
    plain = build_model(structure)
    table = plain.position_embedding.clone()
    randomized(plain, torch.float32, std=0.1).position_embedding.data.copy_(table)
    model = compress(plain, list(operations))
    save_variant(path, model, structure, list(operations), {})
    return model


@pytest.fixture(scope="module")
def autoencoder():
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    sizes = {"block_out_channels": (8,), "norm_num_groups": 8, "latent_channels": 4}
    return AutoencoderKL(**sizes, scaling_factor=SCALING).eval()


@pytest.mark.parametrize("frequency_shift", [0, 1])
def test_diffusers_pipeline_makes_our_image(frequency_shift, autoencoder, tmp_path):
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    # The pipeline's null class is 1000, whatever its model's is.
    structure = structure_of(2, 24, 3, 2, 1000, 8, frequency_shift=frequency_shift)
    model = saved(tmp_path / "checkpoint.safetensors", structure)
    export(tmp_path / "checkpoint.safetensors", tmp_path / "theirs", "diffusers")
    transformer = DiTTransformer2DModel.from_pretrained(tmp_path / "theirs")
    if frequency_shift == 0:
        for block in transformer.transformer_blocks:
            block.norm1.emb.time_proj.downscale_freq_shift = 0
    scheduler = DDIMScheduler(
        beta_schedule="linear", beta_start=1e-4, beta_end=2e-2, clip_sample=False,
        timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip
    pipeline = DiTPipeline(transformer=transformer, vae=autoencoder, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    labels = [3, 977]
    theirs = pipeline(
        labels, SCALE, torch.Generator().manual_seed(7), STEPS, output_type="np"
    ).images

    sampling = {
        "sampler": "ddim", "options": {}, "steps": STEPS, "timesteps": "trailing",
        "guidance_scale": SCALE, "guided_channels": "all", "guidance_interval": None,
        "guide": None, "cache": None, "seed": 0, "batch_size": 2, "precision": "float32",
        "compile": "off",
    }  # fmt: skip
    sampler = LatentSampler(model, sampling, 1000, torch.device("cpu"))
    noise = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(7))
    x, k = noise, torch.tensor([STEPS - 1])
    classes = sampler.guidance.classes(torch.tensor(labels))
    with torch.inference_mode():
        for _ in range(STEPS):
            x, k, _ = sampler.step(x, k, classes, None, True, ())
    ours = decode_images(autoencoder, x, [0.0], [SCALING])
    assert ours.std() > 1
    assert_close(np.round(255 * theirs).astype(float), ours.astype(float), rtol=0, atol=1)


def test_dits_own_names_as_safetensors(tmp_path):
    model = saved(tmp_path / "checkpoint.safetensors", TINY)
    export(tmp_path / "checkpoint.safetensors", tmp_path / "dit.safetensors", "dit")
    tensors = load_file(tmp_path / "dit.safetensors")
    assert torch.equal(tensors["blocks.1.attn.qkv.weight"], model.blocks[1].attention.qkv.weight)
    assert torch.equal(tensors["pos_embed"], model.position_embedding)


def test_the_command_line(tmp_path):
    checkpoint, target = tmp_path / "checkpoint.safetensors", tmp_path / "theirs"
    saved(checkpoint, TINY)
    command = [sys.executable, "-m", "slimdit.export", checkpoint, target, "--format", "diffusers"]
    where = {"cwd": ROOT / "workflow/scripts", "capture_output": True, "text": True}
    run = subprocess.run(command, check=True, **where)
    assert "downscale_freq_shift = 0" in run.stdout and not run.stderr
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json", "diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    again = subprocess.run(command, **where)
    assert again.returncode == 1 and again.stderr == (
        f"{target} is there already; name another, or delete it.\n"
    )


def test_other_positions_than_diffusers_computes_are_refused(tmp_path, capsys):
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_variant(checkpoint, randomized(build_model(TINY), torch.float32), TINY, [], {})
    assert main([str(checkpoint), str(tmp_path / "theirs"), "--format", "diffusers"]) == 1
    assert "position_embedding is not the sine" in capsys.readouterr().err


def test_pruned_heads_are_refused(tmp_path, capsys):
    checkpoint = tmp_path / "checkpoint.safetensors"
    saved(checkpoint, TINY, [{"name": "prune_heads", "keep_heads": 2}])
    assert main([str(checkpoint), str(tmp_path / "theirs"), "--format", "diffusers"]) == 1
    said = capsys.readouterr().err
    assert "pruned heads" in said and said.count("\n") == 1
    assert not (tmp_path / "theirs").exists()
