"""Layers that round as a quantization will: by how much, where, and what follows them."""

import copy

import pytest
import torch
from quantized_models import INT8, error, outputs, quantized, quantized_layers, trained
from subjects import random_tensor
from torchao.quantization.qat.linear import FakeQuantizedLinear

from slimdit.models.build import compress
from slimdit.models.checkpoint import load_variant, save_variant
from slimdit.profiling.cost import count_macs


def fake(model, name):
    return quantized(model, "fake_quantize", quantization=name)


@pytest.mark.parametrize("name", INT8)
def test_the_layers_are_those_that_are_quantized_and_the_weights_stay(name):
    _, model = trained()
    aware = fake(model, name)
    assert quantized_layers(aware, FakeQuantizedLinear) == quantized_layers(quantized(model, name))
    assert aware.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(aware.state_dict()[key], value)


@pytest.mark.parametrize("name", INT8)
def test_weights_are_rounded_as_the_quantization_rounds_them(name):
    _, model = trained()
    aware, int8 = fake(model, name), quantized(model, name)
    for layer in quantized_layers(aware, FakeQuantizedLinear):
        own = aware.get_submodule(layer)
        rounded, expected = (
            own.weight_fake_quantizer(own.weight),
            int8.get_submodule(layer).weight.dequantize(),
        )
        step = own.weight.abs().amax(1, keepdim=True) / 127
        assert ((rounded - expected).abs() / step).max() < 0.02 or torch.equal(rounded, expected)


def test_outputs_of_rounded_weights_are_the_quantized_ones():
    _, model = trained()
    exact, *rounded = (outputs(make(model, INT8[0])) for make in (lambda m, _: m, fake, quantized))
    assert error(*rounded) < 0.02 * error(exact, rounded[1])


def test_rounded_inputs_are_as_far_off_as_the_quantized_ones():
    """Each at other places: the quantization has no zero point."""
    _, model = trained()
    exact, *rounded = (outputs(make(model, INT8[1])) for make in (lambda m, _: m, fake, quantized))
    of_fake, of_quantized = (error(each, exact) for each in rounded)
    assert 0.3 * of_quantized < of_fake < 1.5 * of_quantized


@pytest.mark.parametrize("name", INT8)
def test_gradients_go_through_the_rounding(name):
    _, model = trained()
    grads = []
    for each in (copy.deepcopy(model), fake(model, name)):
        x = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32)
        each(x, torch.tensor([3, 700]), torch.tensor([0, 2])).output.square().mean().backward()
        grads.append({key: value.grad for key, value in each.named_parameters()})
    for key, plain in grads[0].items():
        if plain is not None:
            assert error(grads[1][key], plain) < 0.3


@pytest.mark.parametrize("trained_for", INT8)
@pytest.mark.parametrize("name", INT8)
@pytest.mark.parametrize("float_layers", [[], ["blocks.1.mlp.fc2"]], ids=len)
def test_a_quantization_takes_their_place(trained_for, name, float_layers):
    _, model = trained()
    aware = fake(model, trained_for)
    outputs(aware)
    int8 = quantized(aware, name, float_layers=float_layers)
    assert not quantized_layers(int8, FakeQuantizedLinear)
    assert torch.equal(outputs(int8), outputs(quantized(model, name, float_layers=float_layers)))


def test_a_checkpoint_keeps_them(tmp_path):
    structure, model = trained()
    operations = [{"name": "fake_quantize", "quantization": "int8_dynamic"}]
    aware = compress(model, operations)
    save_variant(tmp_path / "checkpoint", aware, structure, operations, {})
    loaded = load_variant(tmp_path / "checkpoint")
    assert quantized_layers(loaded, FakeQuantizedLinear) == quantized_layers(
        aware, FakeQuantizedLinear
    )
    assert torch.equal(outputs(loaded), outputs(aware))


@pytest.mark.parametrize("name", INT8)
def test_the_arithmetic_is_the_float_models(name):
    _, model = trained()
    aware = fake(model, name)
    assert count_macs(aware) == count_macs(model)
    assert quantized_layers(aware, FakeQuantizedLinear)
