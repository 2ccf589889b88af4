"""Which layers quantization hurts most, and models that leave those in float."""

import copy

import pytest
import torch
from latent_cache import write_latent_cache
from quantized_models import INT8, ON_CPU, outputs, quantized, quantized_layers, trained
from subjects import PHOTOS, load_config, merged, random_tensor

from compress import compress as compress_script
from count_cost import count_cost
from measure_sensitivity import measure_sensitivity
from slimdit.core.errors import InputError
from slimdit.data.latents import LatentCache
from slimdit.models.build import compress
from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
from slimdit.models.compression import COMPRESSION
from slimdit.profiling.cost import count_macs, weight_bytes
from slimdit.storage.files import read_json
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study
from slimdit.training.calibration import CalibrationLoss
from slimdit.training.sensitivity import NUM_BINS, by_timestep, layer_changes, worst

CPU, T = torch.device("cpu"), 1000
BAD = "blocks.1.mlp.fc2"
SAMPLING = PHOTOS.sampling("S2-base")


def with_outliers(model):
    """One weight of each row of a layer is so large that int8 has no steps left for the others; it
    meets zeros, so that the float model does not know of it."""
    mlp = model.blocks[1].mlp
    with torch.no_grad():
        mlp.fc1.weight[3], mlp.fc1.bias[3] = 0, 0
        mlp.fc2.weight[:, 3] = 1000
    return model


@pytest.fixture
def loss(tmp_path):
    return CalibrationLoss(LatentCache(*write_latent_cache(tmp_path, 20)), T, CPU)


@pytest.mark.parametrize("name", ON_CPU)
def test_layers_that_are_named_stay_in_float(name):
    _, model = trained()
    options = {"name": name, "float_layers": [BAD, "final_layer.linear"]}
    every = quantized_layers(quantized(model, name))
    mixed = compress(copy.deepcopy(model), [options])
    assert quantized_layers(mixed) == every - {*options["float_layers"]}
    assert torch.equal(mixed.get_submodule(BAD).weight, model.get_submodule(BAD).weight)
    assert count_macs(mixed) == count_macs(model)


@pytest.mark.parametrize("name", INT8)
def test_errors_are_those_of_a_model_with_one_quantized_layer(name, loss):
    """By the difference of two predictions in float64; the model is as it was."""
    _, model = trained()
    before, quantization = outputs(model), COMPRESSION.build({"name": name})
    changes, layers = layer_changes(model, quantization, loss), quantization.layers(model)
    assert torch.equal(outputs(model), before) and not quantized_layers(model)
    assert changes.keys() == layers.keys()
    assert all(len(each) == len(loss.timesteps) and each.min() > 0 for each in changes.values())
    xt, k, y, _ = loss.batch
    for layer in list(changes)[:3]:
        others = {"name": name, "float_layers": [each for each in layers if each != layer]}
        one = compress(copy.deepcopy(model), [others])
        with torch.inference_mode():
            pair = [each(xt, k, y).output[:, :4].double() for each in (one, model)]
        expected = (pair[0] - pair[1]).square().flatten(1).mean(1)
        torch.testing.assert_close(changes[layer], expected)


@pytest.mark.parametrize("name", INT8)
def test_a_planted_bad_layer_is_found(name, loss):
    _, model = trained()
    quantization = COMPRESSION.build({"name": name})

    def errors_of(model):
        changes = layer_changes(model, quantization, loss)
        return {name: each.mean().item() for name, each in changes.items()}

    before = errors_of(model)
    errors = errors_of(with_outliers(model))
    assert worst(errors, 0.1) == [BAD]
    assert errors[BAD] > 10 * max(before[BAD], *(errors[each] for each in errors if each != BAD))


def test_the_worst_are_a_fraction_and_the_largest_come_first():
    errors = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.5}
    assert [worst(errors, each) for each in (0, 0.25, 0.5, 1)] == [
        [],
        ["b"],
        ["b", "c"],
        ["b", "c", "a", "d"],
    ]


def test_errors_by_timestep_are_means_of_equal_parts():
    changes = random_tensor("changes", 7).square()
    timesteps = torch.tensor([0, 99, 100, 450, 499, 998, 999])
    expected = [None] * NUM_BINS
    for number, rows in {0: [0, 1], 1: [2], 4: [3, 4], 9: [5, 6]}.items():
        expected[number] = pytest.approx(changes[rows].mean().item())
    assert by_timestep(changes, timesteps, T) == expected


def written(tmp_path, operations):
    """The files of a parent, of the measurement and of the row made by it."""
    structure, model = trained()
    paths = [tmp_path / name for name in ("parent", "sensitivity.json", "child")]
    latents = write_latent_cache(tmp_path, 20)
    save_variant(paths[0], with_outliers(model), structure, [], {})
    measure_sensitivity(paths[0], *latents, paths[1], "mixed", operations, T, {})
    compress_script(paths[0], paths[2], "mixed", 0, operations, T, {}, sensitivity=paths[1])
    return structure, model, *paths


@pytest.mark.parametrize("name", INT8)
@pytest.mark.parametrize("others", [[], [{"name": "prune_mlp", "keep_channels": 64}]], ids=len)
def test_a_row_is_made_by_what_was_measured(name, others, tmp_path):
    mixed = {"name": name, "keep_float": 0.2, "float_layers": ["blocks.0.mlp.fc1"]}
    structure, model, _, sensitivity, child = written(tmp_path, [*others, mixed])
    file = read_json(sensitivity)
    layers = file["compression"]["float_layers"]
    assert layers[:2] == ["blocks.0.mlp.fc1", BAD]
    assert len(layers) == 1 + round(0.2 * len(file["layer_errors"]))
    assert file["layer_timestep_errors"].keys() == file["layer_errors"].keys()
    for part in ("timestep_errors", "layer_timestep_errors"):
        for errors in file[part].values():
            assert len(errors) == NUM_BINS and min(errors) > 0
    assert sum(file["timestep_errors"]["mixed"]) < 0.1 * sum(file["timestep_errors"]["quantized"])

    operations = [*others, mixed | {"float_layers": layers}]
    assert read_metadata(child)["operations"] == operations
    loaded, expected = load_variant(child), compress(model, operations)
    assert torch.equal(outputs(loaded), outputs(expected))
    assert quantized_layers(loaded).isdisjoint(layers)

    cost = tmp_path / "architecture.json"
    count_cost(
        cost, "mixed", structure, [*others, mixed], SAMPLING, T, None, {}, sensitivity=sensitivity
    )
    assert read_json(cost)["weight_bytes"] == weight_bytes(loaded)
    assert list(read_json(cost)["origin"]["inputs"]) == ["sensitivity.json"]


def test_a_measurement_is_repeated_to_the_bit(tmp_path):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = written(tmp_path / name, [{"name": "int8_dynamic", "keep_float": 0.2}])[3]
        files.append({k: v for k, v in read_json(path).items() if k != "origin"})
    assert files[0] == files[1]


def test_what_cannot_run_here_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(COMPRESSION["int8_dynamic"], "unsupported", lambda *_: "needs a wish")
    with pytest.raises(InputError, match="mixed cannot be measured here: int8_dynamic needs a wis"):
        written(tmp_path, [{"name": "int8_dynamic", "keep_float": 0.2}])


def test_a_name_of_no_layer_is_an_input_error():
    options = {"name": "int8_dynamic", "float_layers": ["blocks.9.mlp.fc1"]}
    with pytest.raises(
        InputError, match=r"float_layers names 'blocks.9.mlp.fc1'; .*such as blocks.0.attention.qkv"
    ):
        compress(trained()[1], [options])


def study_with(**options):
    block = {"group": "Own", "from": "S2-base", "apply": [{"name": "int8_dynamic", **options}]}
    return Study(merged(load_config(), {"variants": {"new": block}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_float": 1.5}, "keep_float is 1.5; it should be a number >= 0 and <= 1"),
        ({"keep_float": "some"}, "keep_float is 'some'; it should be a number >= 0 and <= 1"),
        ({"float_layers": "modulation.1"}, "float_layers is 'modulation.1'; it should be a list"),
    ],
)
def test_options_of_another_type_are_refused(options, message):
    (problem,) = config_problems(study_with(**options).config)
    assert message in problem


@pytest.mark.parametrize(
    ("options", "is_measured"),
    [({}, False), ({"keep_float": 0.0}, False), ({"keep_float": 0.1}, True)],
)
def test_a_row_is_measured_where_its_config_asks_for_it(options, is_measured):
    study = study_with(**options)
    assert config_problems(study.config) == []
    assert study.is_measured("new") == is_measured and not study.is_measured("S2-base")
