"""Autoencoders from folders and from the hub's cache."""

import hashlib
import json
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors.torch import save_file
from subjects import load_config, merged

from slimdit.core.errors import InputError
from slimdit.data.autoencoder_files import CONFIG, WEIGHTS, check_autoencoder, weights_file
from slimdit.data.autoencoders import encode_dtype, encode_moments, load_autoencoder
from slimdit.diffusion.image_sampler import check_same_autoencoder
from slimdit.storage.files import sha256_of
from slimdit.study.config_check import config_problems
from slimdit.training.autoencoder import build_autoencoder

OPTIONS = {  # of two stages
    "downsample_factor": 2,
    "latent_channels": 4,
    "normalize": "config",
    "scaling_factor": None,
}
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
    with pytest.raises(InputError, match=rf"no {WEIGHTS}; diffusion_pytorch_model.bin is not read"):
        load_autoencoder(folder, None, CPU)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 334643268\n"


def foreign(folder):
    save_file({"x": torch.zeros(1)}, folder / WEIGHTS)


def other_shape(folder):
    build_autoencoder([8, 16], 4, 16, seed=0).save_pretrained(folder / "other")
    (folder / "other" / WEIGHTS).rename(folder / WEIGHTS)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


BAD_FILES = {
    "pointer": (lambda f: (f / WEIGHTS).write_bytes(POINTER), f"{WEIGHTS} is a pointer of Git LFS"),
    "config pointer": (lambda f: (f / CONFIG).write_bytes(POINTER), "json is a pointer of Git LFS"),
    "cut": (lambda f: cut(f / WEIGHTS), f"{WEIGHTS} is cut short or no safetensors file"),
    "cut header": (lambda f: (f / WEIGHTS).write_bytes(b"\x09\0\0"), "is cut short or no safetens"),
    "empty": (
        lambda f: (f / WEIGHTS).write_bytes(b""),
        f"{WEIGHTS} is cut short or no safe",
    ),
    "page": (lambda f: (f / WEIGHTS).write_bytes(b"<!DOCTYPE html>" * 9), "no safetensors file"),
    "half": (
        lambda f: (f / WEIGHTS).rename(f / "diffusion_pytorch_model.fp16.safetensors"),
        "copy or link diffusion_pytorch_model.fp16.safetensors to that name",
    ),
    "none": (lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}; download it"),
    "foreign": (foreign, rf"{WEIGHTS} does not fit its config.json \("),
    "other shape": (other_shape, rf"{WEIGHTS} does not fit its config.json \("),
    "channels": (lambda f: None, "latent_channels is 8, but .*config.json says 4; write 4"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_cannot_be_loaded_are_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        check_autoencoder(folder, OPTIONS | {"latent_channels": 4 + 4 * ("8" in message)})
        load_autoencoder(folder, None, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["{}", "{}/", "{}/../autoencoder"])
def test_a_folder_may_be_written_in_many_ways(folder, source):
    assert load_autoencoder(source.format(folder), None, CPU)


def test_of_a_pipeline_its_autoencoder_is_named(folder, tmp_path):
    folder.rename(tmp_path / "vae")
    with pytest.raises(InputError, match=r"is a whole pipeline; name its autoencoder, .*vae"):
        check_autoencoder(tmp_path)


def test_the_config_check_looks_into_the_folder(folder):
    (folder / WEIGHTS).write_bytes(POINTER)
    own = OPTIONS | {"train": None, "source": f"{folder}/"}
    (problem,) = config_problems(merged(load_config(), {"autoencoder": own}))
    assert problem.startswith("autoencoder.source: ") and "is a pointer of Git LFS" in problem


def set_factor(folder, factor):
    config = json.loads((folder / CONFIG).read_text())
    del config["scaling_factor"]
    own = {} if factor is None else {"scaling_factor": factor}
    (folder / CONFIG).write_text(json.dumps(config | own))


@pytest.mark.parametrize("factor", [None, 0, -1, "0.18215"])
def test_a_scale_that_the_files_do_not_tell_has_to_be_named(folder, factor):
    set_factor(folder, factor)
    with pytest.raises(InputError, match=r"name as autoencoder\.scaling_factor what") as refused:
        check_autoencoder(folder, OPTIONS)
    what = "no scaling_factor" if factor is None else f"a scaling_factor of {factor!r}"
    assert f"{folder / CONFIG} has {what};" in str(refused.value)
    check_autoencoder(folder, OPTIONS | {"scaling_factor": 0.13025})
    check_autoencoder(folder, OPTIONS | {"normalize": "measured"})


SCALES = {
    "measured": ({"scaling_factor": 0.18215}, "scaling_factor has no effect where"),
    "trained": ({"normalize": "config"}, "trained here has no scaling_factor of its own"),
    "zero": ({"scaling_factor": 0}, "scaling_factor is 0; it should be"),
}


@pytest.mark.parametrize(("own", "said"), SCALES.values(), ids=SCALES)
def test_a_scale_is_named_where_it_counts(own, said):
    (problem,) = config_problems(merged(load_config(), {"autoencoder": own}))
    assert said in problem


def test_what_the_hubs_cache_lacks_is_told_without_a_network(blob):
    with pytest.raises(InputError, match="hub cannot be reached; where it can, run: hf download"):
        load_autoencoder("someone/other", REVISION, CPU)
    assert load_autoencoder(SOURCE, REVISION, CPU)


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
