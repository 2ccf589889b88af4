"""Autoencoders from folders and from the hub's cache."""

import hashlib
import json
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from slimdit.core.errors import InputError
from slimdit.data.autoencoders import (
    WEIGHTS,
    encode_dtype,
    encode_moments,
    load_autoencoder,
    weights_file,
)
from slimdit.diffusion.image_sampler import check_same_autoencoder
from slimdit.storage.files import sha256_of
from slimdit.training.autoencoder import build_autoencoder

SOURCE, REVISION = "someone/autoencoder", "0123456789" * 4
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    build_autoencoder([8, 8], 4, 16, seed=0).save_pretrained(tmp_path / "autoencoder")
    return tmp_path / "autoencoder"


@pytest.fixture
def blob(folder, tmp_path, monkeypatch):
    """The weights in a hub's cache that has the folder's files, with no way to the hub."""
    cache = tmp_path / "cache"
    repository = cache / f"models--{SOURCE.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for file in folder.iterdir():
        name = hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(repository / "blobs" / name)
        (snapshot / file.name).symlink_to(f"../../blobs/{name}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return (snapshot / WEIGHTS).resolve()


def test_a_local_folder_is_loaded_frozen(folder):
    autoencoder = load_autoencoder(folder, None, CPU)
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())
    assert weights_file(folder, None) == folder / WEIGHTS


def test_the_hubs_weights_are_those_that_it_names(blob):
    assert weights_file(SOURCE, REVISION).resolve() == blob


def test_other_weights_in_the_hubs_cache_are_refused(blob):
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(InputError, match=rf"is not what {SOURCE} has at {REVISION} .* delete it"):
        weights_file(SOURCE, REVISION)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "is not an autoencoder in diffusers' layout"),
        ("no json", "is not an autoencoder in diffusers' layout"),
        ({}, "is not an autoencoder in diffusers' layout"),
        ({"_class_name": "UNet2DModel"}, "is a UNet2DModel; known: AutoencoderKL"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, config, message):
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_autoencoder(tmp_path, None, CPU)


def test_pickled_weights_are_not_read(folder):
    (folder / WEIGHTS).unlink()
    torch.save({"x": torch.zeros(1)}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_autoencoder(folder, None, CPU)


def test_images_are_not_decoded_by_other_weights_than_encoded_them(folder):
    weights = weights_file(folder, None)
    manifest = {"autoencoder": {"weights_sha256": sha256_of(weights)}}
    check_same_autoencoder(weights, manifest)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="are not the weights that the latents were encoded by"):
        check_same_autoencoder(weights, manifest)


@pytest.mark.parametrize("is_posterior", [False, True])
@pytest.mark.parametrize("weight", [0.5, 1e5])
def test_what_overflows_is_encoded_in_float32(weight, is_posterior):
    """Also where the mean is finite and the deviation alone is not, which diffusers clamps."""
    layer = torch.nn.Conv2d(1, 2, 1, bias=False).requires_grad_(False)
    layer.weight[0], layer.weight[1] = 0.5, weight

    def encode(x):
        y = layer(x)
        if is_posterior:
            return SimpleNamespace(latent_dist=DiagonalGaussianDistribution(y))
        return SimpleNamespace(latents=y)

    autoencoder, x = SimpleNamespace(encode=encode), torch.full((2, 1, 4, 4), 0.3)
    exact = encode_moments(autoencoder, x)
    found = encode_moments(autoencoder, x, torch.float16)
    assert found.dtype == torch.float32 and found.isfinite().all()
    assert torch.equal(found, exact) == (weight == 1e5)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3)


def test_precision_follows_the_device():
    assert encode_dtype("auto", CPU) == torch.float32
    assert encode_dtype("auto", torch.device("cuda")) == torch.float16
    assert encode_dtype("bfloat16", CPU) == torch.bfloat16
