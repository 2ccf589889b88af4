"""Quantized layers: which they are, how far off, what they take and what they need."""

import importlib.machinery
import sys
import types

import pytest
import torch
from quantized_models import (
    HIDDEN_SIZE,
    ON_CPU,
    error,
    inputs,
    outputs,
    quantized,
    quantized_layers,
    trained,
)
from subjects import IMAGENET200, PHOTOS, random_tensor, randomized, tiny
from torch._inductor import config as inductor_config
from torchao.quantization.quantize_.workflows.int4 import int4_tensor

from slimdit.core.errors import InputError
from slimdit.models.build import build_model, compress, empty_model
from slimdit.models.checkpoint import load_variant, save_variant
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.quantization import Quantization
from slimdit.profiling.cost import count_macs, total_params, weight_bytes
from slimdit.study.component_options import components

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
DYNAMIC = ON_CPU[1:]
FLOAT8_STEP = 1 / 16  # half of the last of three bits
WEIGHT_ERRORS = {"int8_weight_only": 0.01, "int8_dynamic": 0.01, "fp8_dynamic": FLOAT8_STEP}
OUTPUT_ERRORS = {"int8_weight_only": 0.03, "int8_dynamic": 0.03, "fp8_dynamic": 0.09}


def layers(model):
    return {n: layer for n, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}


def test_the_check_of_a_config_knows_that_they_come_last_and_their_sizes():
    for name, compression in COMPRESSION.items():
        asked = components("compression")[name].outline
        assert (asked.followers == ()) == issubclass(compression, Quantization)
        assert asked.multiple_of == compression.multiple_of


@pytest.mark.parametrize("name", ON_CPU)
def test_weights_are_rounded_by_rows(name):
    _, model = trained()
    before, after = layers(model), layers(quantized(model, name))
    for layer in quantized_layers(quantized(model, name)):
        rows, rounded = before[layer].weight.detach(), after[layer].weight.dequantize().float()
        errors = (rounded - rows).norm(dim=1) / rows.norm(dim=1)
        assert 0 < errors.max() < WEIGHT_ERRORS[name]


@pytest.mark.parametrize("name", ON_CPU)
def test_outputs_stay_close_and_autocast_reaches_them(name):
    _, model = trained()
    exact, model = outputs(model), quantized(model, name)
    assert 0 < error(outputs(model), exact) < OUTPUT_ERRORS[name]
    layer = model.blocks[0].mlp.fc1
    x = random_tensor("tokens", 2, 3, HIDDEN_SIZE, dtype=torch.float32)
    assert layer(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert error(outputs(model), exact) < OUTPUT_ERRORS[name] + 0.01


@pytest.mark.parametrize("name", DYNAMIC)
def test_each_token_has_a_scale_of_its_own(name):
    """An image's rounding does not know of the others in its batch."""
    model = quantized(trained()[1], name)
    x, t, y = inputs()
    louder = torch.stack([x[0], 100 * x[1]])
    torch.testing.assert_close(outputs(model, louder, t, y)[0], outputs(model, x, t, y)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "on_gpu"), [("int8_weight_only", "dequantized"), ("int8_dynamic", "multiplied")]
)
def test_products_of_a_gpu_are_those_of_torchao(name, on_gpu, dtype):
    layer = quantized(trained()[1], name).blocks[0].mlp.fc1
    x = random_tensor("rows", 2, 9, HIDDEN_SIZE, dtype=dtype)
    with torch.inference_mode():
        bias = layer.bias.to(dtype)
        product = getattr(layer, on_gpu)(x, bias)
        expected = layer.product(x.float(), bias.float())
    assert product.dtype == dtype and product.shape == expected.shape
    assert error(product, expected) < {torch.float32: 1e-5, torch.bfloat16: 0.01}[dtype]


DENSE = {"mlp.fc1", "mlp.fc2"}


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize(
    ("variant", "first", "second"),
    [
        ("S2-base", {"attention.qkv", "attention.proj"} | DENSE, None),
        ("S2-med-4", {"attention.qkv", "attention.proj"} | DENSE, None),
        ("S2-fg-6", {"attention.q", "attention.kv", "attention.proj"} | DENSE, None),
        (
            "MoE-S2-4E1A",
            {"attention.qkv", "attention.proj"} | DENSE,
            {"attention.qkv", "attention.proj"},
        ),
    ],
)
def test_only_layers_of_every_token_are_taken(variant, first, second, name):
    structure = PHOTOS.structure(variant) | {"depth": 2, "num_classes": 3}
    found = quantized_layers(compress(empty_model(structure), [{"name": name}]))
    expected = {f"blocks.0.{part}" for part in first}
    assert found == expected | {f"blocks.1.{part}" for part in second or first}


@pytest.mark.parametrize(("name", "kept"), [("int8_dynamic", 1), ("fp8_dynamic", 3)])
def test_layers_of_other_sizes_are_left_as_they_are(name, kept):
    """Of heads that are 4 wide; the MLP's sizes fit."""
    pruning = {"name": "prune_heads", "keep_heads": kept}
    model = compress(trained()[1], [pruning, {"name": name}])
    assert quantized_layers(model) == {f"blocks.{i}.{part}" for i in range(2) for part in DENSE}
    assert outputs(model).isfinite().all()


def test_a_model_without_a_layer_that_fits_is_an_input_error():
    _, model = trained(num_heads=6)
    with pytest.raises(
        InputError, match=r"no linear layer .* hidden_size should be a multiple of 16"
    ):
        quantized(model, "fp8_dynamic")


def test_a_layer_of_one_input_keeps_its_weight():
    structure = tiny(PHOTOS.structure("S2-base") | {"num_heads": 1})
    structure["attention"] = {"name": "full", "head_dim": 1}
    model = randomized(build_model(structure), torch.float32, std=0.2).eval()
    exact, model = outputs(model), quantized(model, "int8_weight_only")
    left = {f"blocks.{i}.attention.proj" for i in range(2)}
    assert set(layers(model)) - quantized_layers(model) == left
    assert error(outputs(model), exact) < 0.1


@pytest.mark.parametrize("name", ON_CPU)
def test_rows_of_zeros_give_zeros(name):
    """As those of heads whose weights were set to zero, and tokens that nothing reached."""
    _, model = trained()
    for layer in layers(model).values():
        layer.weight.data[0] = 0
    plain = {each: layer.bias.clone() for each, layer in layers(model).items()}
    for each, layer in layers(quantized(model, name)).items():
        x = torch.ones(2, layer.in_features)
        x[1] = 0
        with torch.no_grad():
            output = layer(x)
        torch.testing.assert_close(output[:, 0], plain[each][0].expand(2), rtol=0.01, atol=1e-3)
        assert output.isfinite().all()


@pytest.mark.parametrize("name", DYNAMIC)
def test_a_quantized_block_is_one_graph(name):
    block = quantized(trained()[1], name).blocks[0]
    x = random_tensor("tokens", 2, 16, HIDDEN_SIZE, dtype=torch.float32)
    modulation = random_tensor("modulation", 2, 6 * HIDDEN_SIZE, dtype=torch.float32)
    with torch.inference_mode():
        expected = block(x, modulation)[0]
        compiled = torch.compile(block, fullgraph=True)(x, modulation)[0]
    assert error(compiled, expected) < OUTPUT_ERRORS[name]


@pytest.mark.parametrize("name", DYNAMIC)
def test_the_flags_of_the_compiler_stay_as_they_were(name):
    before = inductor_config.get_config_copy()
    quantized(trained()[1], name)
    assert inductor_config.get_config_copy() == before


@pytest.mark.parametrize("operations", [[name] for name in DYNAMIC], ids=str)
def test_checkpoint_restores_the_outputs_bit_for_bit(operations, tmp_path):
    structure, model = trained()
    model, names = quantized(model, *operations), [{"name": name} for name in operations]
    save_variant(tmp_path / "c.safetensors", model, structure, names, {})
    loaded = load_variant(tmp_path / "c.safetensors", CPU)
    assert torch.equal(outputs(loaded), outputs(model))


BITS = {  # bytes a weight, and bytes a row of weights: scales, zeros
    "int8_weight_only": (1, 4 + 1),
    "int8_dynamic": (1, 4 + 1),
    "fp8_dynamic": (1, 4),
}


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("study", [PHOTOS, IMAGENET200], ids=["photos", "imagenet200"])
def test_bytes_are_those_that_are_stored_and_multiplications_as_many(study, name):
    base = empty_model(study.structure("S2-base") | {"depth": 2})
    model = quantized(base, name)
    a_weight, a_row = BITS[name]
    saved = sum(
        (4 - a_weight) * layer.weight.numel() - a_row * layer.out_features
        for n, layer in layers(base).items()
        if n in quantized_layers(model)
    )
    assert weight_bytes(base) - weight_bytes(model) == saved > 0
    assert total_params(model) == total_params(base)
    assert count_macs(model) == count_macs(base)
    assert all(
        type(layer.weight.data) is not torch.Tensor for layer in model.blocks[0].mlp.children()
    )


def saved_on_disk(path, *names):
    structure, model = trained()
    save_variant(path, quantized(model, *names), structure, [{"name": n} for n in names], {})
    return path


@pytest.mark.parametrize(
    ("capability", "lacks"), [((8, 0), True), ((8, 6), True), ((8, 9), False), ((10, 0), False)]
)
def test_a_gpu_without_float8_is_refused_in_a_sentence(capability, lacks, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    missing = COMPRESSION["fp8_dynamic"]().unsupported(CUDA)
    assert (missing is not None) == lacks
    if lacks:
        assert "8.9 or later" in missing
        assert missing.endswith(f"NVIDIA A100 has {capability[0]}.{capability[1]}")


def test_a_checkpoint_is_refused_before_it_is_built(tmp_path, monkeypatch):
    path = saved_on_disk(tmp_path / "c.safetensors", "fp8_dynamic")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    monkeypatch.setattr("slimdit.models.checkpoint.empty_model", None)
    sentence = r"c\.safetensors cannot run here: fp8_dynamic needs a GPU .* leave its row out"
    with pytest.raises(InputError, match=sentence):
        load_variant(path, CUDA)


@pytest.mark.parametrize("name", ["prune_heads", "int8_weight_only", "int8_dynamic"])
def test_the_others_run_on_any_device(name):
    options = {"keep_heads": 2} if name == "prune_heads" else {}
    operation = COMPRESSION[name](**options)
    assert operation.unsupported(CPU) is None and operation.unsupported(CUDA) is None


def test_int4_without_its_library_is_an_input_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "mslk", None)
    with pytest.raises(InputError, match="int4_weight_only needs the package mslk"):
        quantized(trained()[1], "int4_weight_only")


@pytest.fixture
def mslk(monkeypatch):
    """What torchao asks of the library to make weights, in the same shapes."""
    module = types.ModuleType("mslk")
    module.__spec__ = importlib.machinery.ModuleSpec("mslk", None)
    monkeypatch.setitem(sys.modules, "mslk", module)

    def quantize(weight, group_size):
        assert weight.dtype == torch.bfloat16
        groups = weight.shape[1] // group_size
        return weight.to(torch.int8), *torch.ones(2, groups, weight.shape[0])

    monkeypatch.setattr(int4_tensor, "int4_row_quantize_zp", quantize)
    monkeypatch.setattr(int4_tensor, "pack_int4", lambda x: x[:, ::2].contiguous())


def test_int4_takes_whole_groups_and_half_a_byte_a_weight(mslk, tmp_path):
    structure, model = trained()  # 32 wide: groups of 128 are in fc2 alone
    int4 = quantized(model, "int4_weight_only")
    assert quantized_layers(int4) == {f"blocks.{i}.mlp.fc2" for i in range(2)}
    saved = 2 * (4 - 0.5) * 4 * HIDDEN_SIZE * HIDDEN_SIZE - 2 * 2 * 2 * HIDDEN_SIZE
    assert weight_bytes(model) - weight_bytes(int4) == saved
    assert count_macs(int4) == count_macs(model)
    path, operations = tmp_path / "c.safetensors", [{"name": "int4_weight_only"}]
    save_variant(path, int4, structure, operations, {})
    assert weight_bytes(load_variant(path)) == weight_bytes(int4)
    with pytest.raises(InputError, match="int4_weight_only needs a CUDA GPU"):
        load_variant(path, CPU)
