"""How products are computed, and that weights stored in it change nothing."""

import pytest
import torch
from subjects import IMAGENET200, PHOTOS, random_tensor, randomized, tiny

from slimdit import precision
from slimdit.dtypes import autocast
from slimdit.mlp.moe import MixtureOfExperts
from slimdit.precision import BFLOAT16, FLOAT32, chosen_precision
from slimdit.stored_weights import store_for
from slimdit.variants import apply_operations, build_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("has_tiles", [True, False])
@pytest.mark.parametrize("width", [96, 255, 256, 384])
def test_auto_is_what_the_device_is_fast_at(monkeypatch, has_tiles, width):
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: has_tiles)
    assert chosen_precision("auto", width, CUDA) == BFLOAT16
    is_fast = has_tiles and width >= 256
    assert chosen_precision("auto", width, CPU) == (BFLOAT16 if is_fast else FLOAT32)
    for device in (CPU, CUDA):
        assert chosen_precision("float32", width, device) == FLOAT32
        assert chosen_precision("bfloat16", width, device) == BFLOAT16


def test_tiles_are_those_that_the_processor_names(monkeypatch):
    for capabilities, expected in (({"amx_bf16": True}, True), ({"amx_bf16": False}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert precision.multiplies_tiles() is expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision.multiplies_tiles() is False


def test_all_models_of_a_study_of_the_paper_are_wide_enough():
    """Or rows would be compared in two precisions."""
    for variant in IMAGENET200.variants:
        assert IMAGENET200.structure(variant)["hidden_size"] >= precision.LEAST_WIDTH
    for variant in PHOTOS.variants:
        assert PHOTOS.structure(variant)["hidden_size"] < precision.LEAST_WIDTH


@pytest.mark.parametrize("variant", PHOTOS.variants)
@torch.inference_mode()
def test_stored_weights_give_the_bits_of_autocast(variant):
    model = randomized(build_model(tiny(PHOTOS.structure(variant))), torch.float32, std=0.1)
    model = apply_operations(model, PHOTOS.operations(variant)).eval()
    x = random_tensor("latents", 2, 4, 8, 8, dtype=torch.float32)
    inputs = x, torch.tensor([900, 3]), torch.tensor([0, 2])
    with autocast(CPU, torch.bfloat16):
        expected = model(*inputs).output
        store_for(BFLOAT16, model)
        assert torch.equal(model(*inputs).output, expected)
    assert model.patch_embedder.weight.dtype == torch.bfloat16
    assert model.position_embedding.dtype == model.label_embedder.weight.dtype == torch.float32
    for mixture in (each for each in model.modules() if isinstance(each, MixtureOfExperts)):
        assert mixture.weight1.dtype == mixture.bias2.dtype == torch.bfloat16
        assert mixture.gate.weight.dtype == torch.float32


def test_float32_stores_nothing_anew():
    model = build_model(tiny(PHOTOS.structure("S2-base")))
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    store_for(FLOAT32, model)
    assert before == {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
