"""Every variant of the config: built, run, initialized, stored."""

import copy
import itertools
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from subjects import PHOTOS, ROOT, random_tensor, randomized, tiny

from slimdit.core.errors import InputError
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import flat_tensors, load_variant, read_metadata, save_variant

GOLDEN = ROOT / "tests/golden"


def outputs(model, structure, count=2):
    side, channels = structure["input_size"], structure["in_channels"]
    x = random_tensor("x", count, channels, side, side, dtype=torch.float32)
    t, y = torch.arange(count) * 400, torch.arange(count) % structure["num_classes"]
    with torch.inference_mode():
        return model.eval()(x, t, y)


@pytest.mark.parametrize("variant", PHOTOS.variants)
def test_variant_of_the_study_starts_with_zero_output_of_the_right_shape(variant):
    structure = PHOTOS.structure(variant)
    model = compress(build_model(structure, seed=0), PHOTOS.operations(variant))
    output = outputs(model, structure).output
    side, channels = structure["input_size"], structure["in_channels"]
    assert output.shape == (2, 2 * channels, side, side)
    assert output.abs().max() == 0


@pytest.mark.parametrize("variant", PHOTOS.variants)
def test_variant_survives_its_checkpoint(variant, tmp_path):
    structure, operations = tiny(PHOTOS.structure(variant)), PHOTOS.operations(variant)
    model = compress(randomized(build_model(structure), torch.float32), operations)
    path = tmp_path / "checkpoint.safetensors"
    save_variant(path, model, structure, operations, {"variant": variant})
    loaded = load_variant(path)
    expected, actual = flat_tensors(model), flat_tensors(loaded)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert torch.equal(outputs(loaded, structure).output, outputs(model, structure).output)
    metadata = read_metadata(path)
    del metadata["tensors_sha256"]
    assert metadata == {
        "structure": structure,
        "operations": operations,
        "origin": {"variant": variant},
    }


@pytest.mark.parametrize("variant", ["S2-med-4", "Q-S2"])
def test_loading_draws_no_weights_and_keeps_what_is_in_no_checkpoint(variant, tmp_path):
    structure, operations = tiny(PHOTOS.structure(variant)), PHOTOS.operations(variant)
    model = compress(randomized(build_model(structure), torch.float32), operations)
    save_variant(tmp_path / "checkpoint.safetensors", model, structure, operations, {})
    state = torch.random.get_rng_state()
    loaded = load_variant(tmp_path / "checkpoint.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, buffer), (_, other) in zip(
        model.named_buffers(), loaded.named_buffers(), strict=True
    ):
        assert torch.equal(buffer, other), name
    for (name, parameter), (_, other) in zip(
        model.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert parameter.is_contiguous() == other.is_contiguous(), name


def test_a_checkpoint_of_an_earlier_version_is_read():
    """Pruned, quantized, with experts, and with an option that has another name by now."""
    expected = json.loads((GOLDEN / "earlier-checkpoint.json").read_text())["output"]
    model = load_variant(GOLDEN / "earlier-checkpoint.safetensors")
    assert model.blocks[0].attention.head_dim == 3
    x = random_tensor("x", 1, 1, 4, 4, dtype=torch.float32)
    with torch.inference_mode():
        output = model(x, torch.tensor([700]), torch.tensor([1])).output
    torch.testing.assert_close(output, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_parameters_that_variants_share_start_from_the_same_values():
    weights = {name: dict(build_model(PHOTOS.structure(name), 0).named_parameters())
               for name in PHOTOS.trained}  # fmt: skip
    for one, other in itertools.combinations(PHOTOS.trained, 2):
        for name in weights[one].keys() & weights[other].keys():
            a, b = weights[one][name], weights[other][name]
            assert a.shape != b.shape or torch.equal(a, b), f"{name} of {one} and {other}"


def test_seed_changes_the_weights(structure):
    first, second = (build_model(structure, seed).blocks[0].attention.qkv.weight for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("variant", ["S2-base", "S2-shallow", "S2-fg-3"])
def test_query_weights_start_at_the_same_scale_whatever_their_shape(variant):
    structure = PHOTOS.structure(variant)
    attention = build_model(structure, 0).blocks[0].attention
    weight = attention.q.weight if variant == "S2-fg-3" else attention.qkv.weight
    bound = (6 / (4 * structure["hidden_size"])) ** 0.5
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_every_second_block_is_moe_when_every_is_two():
    model = build_model(PHOTOS.structure("MoE-S2-4E1A"), 0)
    kinds = [type(block.mlp).__name__ for block in model.blocks]
    assert kinds == ["DenseMlp", "MixtureOfExperts"] * (len(kinds) // 2)


@pytest.mark.parametrize("variant", [v for v in PHOTOS.trained if v.startswith("MoE")])
def test_moe_layers_say_where_their_tokens_went(variant):
    structure = PHOTOS.structure(variant)
    prediction = outputs(build_model(structure, 0), structure)
    num_layers = structure["depth"] // structure["mlp"]["every"]
    assert len(prediction.routings) == num_layers
    assert all(r.load.sum().item() == pytest.approx(1.0) for r in prediction.routings)


def test_patches_come_back_to_their_place(structure):
    """A final layer that outputs its input's patch index gives each patch that index."""
    model = build_model(structure, 0)
    tokens = torch.arange(16.0).reshape(1, 16, 1).expand(1, 16, 2 * 2 * 8)
    image = model._unpatchify(tokens)
    assert image[0, 3, ::2, ::2].flatten().tolist() == list(range(16))
    assert torch.equal(image[..., ::2, ::2], image[..., 1::2, 1::2])


def test_prediction_depends_on_time_class_and_position(structure):
    model = randomized(build_model(structure), torch.float32, std=0.2)
    x = torch.ones(1, 4, 8, 8)

    def predict(t, y):
        with torch.inference_mode():
            return model(x, torch.tensor([t]), torch.tensor([y])).output

    base = predict(5, 0)
    assert not torch.allclose(base, predict(900, 0))
    assert not torch.allclose(base, predict(5, 1))
    assert not torch.allclose(base, predict(5, model.null_class))
    assert not torch.allclose(base[..., :4], base[..., 4:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": {"name": "ful"}}, r"attention 'ful' is unknown; known: full, shallow"),
        ({"attention": {"name": "full", "rank": 3}}, r"attention 'full': .*'rank'"),
        ({"mlp": {"name": "moe", "num_experts": 4}}, r"mlp 'moe': .*top_k"),
    ],
)
def test_components_that_do_not_exist_are_input_errors(structure, change, message):
    with pytest.raises(InputError, match=message):
        build_model(structure | change)


@pytest.fixture
def checkpoint(structure, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_variant(path, build_model(structure, 0), structure, [], {})
    return path


def test_missing_checkpoint_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_variant(tmp_path / "none.safetensors")


def test_truncated_checkpoint_is_an_input_error(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a SlimDiT checkpoint"):
        load_variant(checkpoint)


def crafted(structure, operations=()):
    metadata = {"structure": structure, "operations": operations, "origin": {}}
    return json.dumps(metadata | {"tensors_sha256": ""})


class Executed:
    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize("kind", ["weights", "int8 weights"])
def test_one_wrong_bit_of_a_checkpoint_is_an_input_error(structure, tmp_path, kind):
    path = tmp_path / "checkpoint.safetensors"
    operations = [{"name": "int8_weight_only"}] if kind == "int8 weights" else []
    model = compress(build_model(structure, 0), operations)
    save_variant(path, model, structure, operations, {})
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged .* delete it to make it anew"):
        load_variant(path)


@pytest.mark.parametrize("write", [pickle.dumps, lambda x: b"PK" + pickle.dumps(x)])
def test_pickle_named_a_checkpoint_is_not_executed(tmp_path, write):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(write(Executed()))
    with pytest.raises(InputError, match="is not a SlimDiT checkpoint"):
        load_variant(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"slimdit": "[]"},
        {"slimdit": "{}"},
        {"slimdit": "no json"},
        {"slimdit": crafted({})},
        {"slimdit": crafted({"depth": "x"})},
        {"slimdit": crafted([])},
        {"slimdit": crafted(3, operations=3)},
    ],
)
def test_crafted_metadata_are_an_input_error(tmp_path, metadata):
    path = tmp_path / "checkpoint.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(InputError, match="delete it to make it anew"):
        load_variant(path)


def test_checkpoint_of_another_structure_is_an_input_error(structure, checkpoint):
    other = copy.deepcopy(structure) | {"depth": 3}
    save_variant(checkpoint, build_model(structure, 0), other, [], {})
    with pytest.raises(InputError, match=r"first difference: blocks\.2\."):
        load_variant(checkpoint)
