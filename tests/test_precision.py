"""The type of matrix multiplications, and that weights stored in it change nothing."""

import pytest
import torch
from subjects import IMAGENET200, PHOTOS, random_tensor, randomized, tiny

from slimdit.compute import precision
from slimdit.compute.precision import autocast, chosen_dtype
from slimdit.diffusion.image_decoder import decode_dtype
from slimdit.models.build import build_model, compress
from slimdit.models.component import store_weights
from slimdit.models.mlp.moe import MixtureOfExperts

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("has_tiles", [True, False])
@pytest.mark.parametrize("hidden_size", [96, 255, 256, 384])
def test_auto_is_what_the_device_is_fast_at(monkeypatch, has_tiles, hidden_size):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_tiles})
    assert chosen_dtype("auto", hidden_size, CUDA) == torch.bfloat16
    is_fast = has_tiles and hidden_size >= 256
    assert chosen_dtype("auto", hidden_size, CPU) == (torch.bfloat16 if is_fast else torch.float32)
    for device in (CPU, CUDA):
        assert chosen_dtype("float32", hidden_size, device) == torch.float32
        assert chosen_dtype("bfloat16", hidden_size, device) == torch.bfloat16


def test_a_decoder_is_in_halves_on_cuda_unless_the_model_is_not():
    for choice in ("auto", "bfloat16"):
        assert decode_dtype(choice, CUDA) == torch.float16
        assert decode_dtype(choice, CPU) == torch.float32
    assert decode_dtype("float32", CUDA) == decode_dtype("float32", CPU) == torch.float32


def test_all_models_of_a_study_of_the_paper_are_wide_enough():
    """Or rows would be compared in two precisions."""
    for variant in IMAGENET200.variants:
        assert IMAGENET200.structure(variant)["hidden_size"] >= precision.LEAST_HIDDEN_SIZE
    for variant in PHOTOS.variants:
        assert PHOTOS.structure(variant)["hidden_size"] < precision.LEAST_HIDDEN_SIZE


@pytest.mark.parametrize("variant", PHOTOS.variants)
@torch.inference_mode()
def test_stored_weights_give_the_bits_of_autocast(variant):
    model = randomized(build_model(tiny(PHOTOS.structure(variant))), torch.float32, std=0.1)
    model = compress(model, PHOTOS.operations(variant)).eval()
    x = random_tensor("latents", 2, 4, 8, 8, dtype=torch.float32)
    inputs = x, torch.tensor([900, 3]), torch.tensor([0, 2])
    with autocast(CPU, torch.bfloat16):
        expected = model(*inputs).output
        store_weights(model, torch.bfloat16)
        assert torch.equal(model(*inputs).output, expected)
    assert model.patch_embedder.weight.dtype == torch.bfloat16
    assert model.position_embedding.dtype == model.label_embedder.weight.dtype == torch.float32
    for mixture in (each for each in model.modules() if isinstance(each, MixtureOfExperts)):
        assert mixture.weight1.dtype == mixture.bias2.dtype == torch.bfloat16
        assert mixture.gate.weight.dtype == torch.float32


def test_float32_stores_nothing_anew():
    model = build_model(tiny(PHOTOS.structure("S2-base")))
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    store_weights(model, torch.float32)
    assert before == {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
