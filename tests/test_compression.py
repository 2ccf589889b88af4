"""Compressions of trained weights: what they keep, and that checkpoints keep it too."""

import copy

import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, random_tensor, randomized, tiny
from torch._inductor import config as inductor_config

import compress as script
from slimdit.core.errors import InputError
from slimdit.data.latents import LatentCache
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import flat_tensors, load_variant, read_metadata, save_variant
from slimdit.models.compression import COMPRESSION
from slimdit.models.compression.prune_heads import PruneHeads
from slimdit.storage.files import sha256_of
from slimdit.training.calibration import CalibrationLoss

NUM_HEADS, HEAD_DIM = 6, 4
CPU = torch.device("cpu")


def trained(variant="S2-base"):
    structure = tiny(PHOTOS.structure(variant) | {"num_heads": NUM_HEADS})
    return structure, randomized(build_model(structure), torch.float32, std=0.2).eval()


def outputs(model):
    x = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32)
    with torch.inference_mode():
        return model(x, torch.tensor([3, 700]), torch.tensor([0, 2])).output


def prune(model, keep_heads, mode="structural", loss=None, **options):
    operation = {"name": "prune_heads", "keep_heads": keep_heads, "mode": mode, **options}
    return compress(copy.deepcopy(model), [operation], loss)


@pytest.mark.parametrize("variant", ["S2-base", "S2-shallow"])
@pytest.mark.parametrize("keep_heads", [1, 2, 5])
def test_removed_heads_compute_the_same_as_masked_heads(variant, keep_heads):
    _, model = trained(variant)
    removed, masked = prune(model, keep_heads), prune(model, keep_heads, "masked")
    torch.testing.assert_close(outputs(removed), outputs(masked), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(outputs(removed), outputs(model), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", ["structural", "masked"])
def test_keeping_every_head_changes_nothing(mode):
    _, model = trained()
    assert torch.equal(outputs(prune(model, NUM_HEADS, mode)), outputs(model))


def head_scores(block):
    pruning = PruneHeads(1)
    return pruning.norms(pruning.groups(block))


def test_head_scores_are_sums_of_the_norms_of_their_slices():
    _, model = trained()
    attention = model.blocks[0].attention
    q, k, v = attention.qkv.weight.chunk(3)
    expected = [
        sum(w[HEAD_DIM * head : HEAD_DIM * (head + 1)].norm() for w in (q, k, v)).item()
        for head in range(NUM_HEADS)
    ]
    assert head_scores(model.blocks[0]).tolist() == pytest.approx(expected)


def test_the_heads_with_the_highest_scores_are_kept_in_order():
    _, model = trained()
    attention = model.blocks[0].attention
    kept = sorted(head_scores(model.blocks[0]).argsort(descending=True)[:2].tolist())
    rows = [row for head in kept for row in range(HEAD_DIM * head, HEAD_DIM * (head + 1))]
    pruned = prune(model, 2).blocks[0].attention
    assert torch.equal(pruned.qkv.weight[:8], attention.qkv.weight[rows])
    assert torch.equal(pruned.qkv.bias[16:], attention.qkv.bias[48:][rows])
    assert torch.equal(pruned.proj.weight, attention.proj.weight[:, rows])
    assert torch.equal(pruned.proj.bias, attention.proj.bias)
    for linear in (pruned.qkv, pruned.proj):
        assert linear.weight.shape == (linear.out_features, linear.in_features)


def distance_to(model):
    """The loss whose least is the model itself."""
    whole = outputs(model)
    return lambda other: (outputs(other) - whole).square().mean().item()


@pytest.mark.parametrize("mode", ["structural", "masked"])
def test_least_damage_finds_dead_heads_that_their_norms_hide(mode):
    _, model = trained()
    with torch.no_grad():
        for dead, block in zip((4, 1), model.blocks, strict=True):
            head = slice(HEAD_DIM * dead, HEAD_DIM * (dead + 1))
            block.attention.qkv.weight.view(3, -1, HEAD_DIM * NUM_HEADS)[:, head] *= 10
            block.attention.proj.weight[:, head] = 0
    loss = distance_to(model)
    damaged = prune(model, NUM_HEADS - 1, mode, loss, criterion="least_damage")
    assert loss(damaged) < 1e-10 < loss(prune(model, NUM_HEADS - 1, mode))


def test_least_damage_is_the_least_of_all_heads_block_by_block(tmp_path):
    _, model = trained()
    loss = CalibrationLoss(LatentCache(*write_latent_cache(tmp_path, 7)), 1000, CPU)
    pruned = prune(model, NUM_HEADS - 1, loss=loss, criterion="least_damage")
    singles = [prune(model, NUM_HEADS - 1, criterion="random", seed=seed) for seed in range(40)]
    for layer, before in enumerate((model, pruned)):  # the second without a head of the first

        def loss_with(other, layer=layer, before=before):
            blocks = [*before.blocks[:layer], other.blocks[layer], *model.blocks[layer + 1 :]]
            candidate = copy.deepcopy(model)
            candidate.blocks = torch.nn.ModuleList(blocks)
            return loss(candidate)

        losses = set(map(loss_with, singles))
        assert len(losses) == NUM_HEADS
        assert loss_with(pruned) == min(losses)


def test_random_heads_depend_on_the_seed_and_the_block_alone():
    _, model = trained()

    def kept(seed):
        pruned = prune(model, 1, criterion="random", seed=seed)
        pairs = zip(pruned.blocks, model.blocks, strict=True)
        rows = ((one.attention.qkv.weight[0], of.attention.qkv.weight) for one, of in pairs)
        return tuple(int((of == row).all(1).nonzero()) // HEAD_DIM for row, of in rows)

    draws = [kept(seed) for seed in range(20)]
    assert draws == [kept(seed) for seed in range(20)]
    assert len(set(draws)) > 10
    assert any(first != second for first, second in draws)


def test_the_calibration_loss_is_that_of_noise_told_with_its_class(tmp_path):
    structure, model = trained()
    cache = LatentCache(*write_latent_cache(tmp_path, 300))
    loss = CalibrationLoss(cache, 1000, CPU)
    assert loss(model) == loss(model) == CalibrationLoss(cache, 1000, CPU)(model)
    assert loss(build_model(structure, 0)) == pytest.approx(1.0, abs=0.02)  # it predicts no noise
    before = loss(model)
    with torch.no_grad():
        model.label_embedder.weight[model.null_class] += 1
        assert loss(model) == before
        model.label_embedder.weight[0] += 1
    assert loss(model) != before


def test_masking_keeps_every_shape():
    _, model = trained()
    shapes = {name: t.shape for name, t in model.state_dict().items()}
    assert {n: t.shape for n, t in prune(model, 2, "masked").state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_heads": 0}, r"keep_heads is 0; it should be a whole number >= 1"),
        ({"keep_heads": 7}, r"keep_heads 7 is more than num_heads 6"),
        ({"keep_heads": 2, "mode": "soft"}, r"is 'soft'; it should be structural or masked"),
        ({"keep_heads": 2, "criterion": "best"}, r"should be norm, random, taylor or least_damage"),
        ({"keep_heads": 2, "seed": -1}, r"seed is -1; it should be a whole number >= 0"),
        ({}, r"compression 'prune_heads': .*keep_heads"),
        ({"keep_heads": 2, "keep": 1}, r"compression 'prune_heads': .*'keep'"),
    ],
)
def test_options_that_do_not_fit_are_input_errors(options, message):
    _, model = trained()
    with pytest.raises(InputError, match=message):
        compress(model, [{"name": "prune_heads", **options}])


def test_unknown_compression_is_an_input_error_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"'squeeze' is unknown; known: prune_heads, prune_mlp, prune_blocks"
    ):
        COMPRESSION.build({"name": "squeeze"})


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        ("S2-med-4", "MediatedAttention"),
        ("S2-med-4-no-local", "MediatedAttention"),
        ("S2-fg-3", "FocusedAttention"),
        ("S2-full-local", "FullLocalAttention"),
    ],
)
def test_attention_without_separable_heads_cannot_be_pruned(variant, name):
    _, model = trained(variant)
    with pytest.raises(InputError, match=f"cannot prune {name}"):
        prune(model, 2)


def test_int8_weights_are_within_half_a_step_of_float32():
    _, model = trained()
    original = {n: m.weight.clone() for n, m in model.named_modules() if hasattr(m, "in_features")}
    quantized = flat_tensors(compress(model, [{"name": "int8_weight_only"}]))
    assert original
    for name, weight in original.items():
        integers, scale = quantized[f"{name}.weight.qdata"], quantized[f"{name}.weight.scale"]
        assert integers.dtype == torch.int8
        step = weight.abs().amax(1, keepdim=True) / 127
        restored = integers.float() * scale.reshape(-1, 1).float()
        assert ((restored - weight).abs() <= 0.502 * step).all()


def test_int8_leaves_the_flags_of_the_compiler_as_they_were():
    """They are of the whole process: another variant's timings should not know of them."""
    _, model = trained()
    before = inductor_config.get_config_copy()
    compress(model, [{"name": "int8_weight_only"}])
    assert inductor_config.get_config_copy() == before


def test_int8_leaves_everything_but_linear_weights_as_it_was():
    _, model = trained()
    before = flat_tensors(copy.deepcopy(model))
    after = flat_tensors(compress(model, [{"name": "int8_weight_only"}]))
    same = before.keys() & after.keys()
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert {"label_embedder.weight", "patch_embedder.weight", "position_embedding"} <= same


OPERATIONS = [
    [],
    [{"name": "prune_heads", "keep_heads": 2, "mode": "structural"}],
    [{"name": "prune_heads", "keep_heads": 2, "mode": "masked"}],
    [{"name": "prune_heads", "keep_heads": 2, "criterion": "random", "seed": 3}],
    [{"name": "int8_weight_only"}],
    [{"name": "prune_heads", "keep_heads": 3}, {"name": "int8_weight_only"}],
    [{"name": "upcycle", "num_experts": 4, "top_k": 2, "every": 2}, {"name": "int8_weight_only"}],
    [{"name": "upcycle_expert_choice", "num_experts": 4, "capacity": 1}, {"name": "int8_dynamic"}],
]


@pytest.mark.parametrize("operations", OPERATIONS, ids=str)
def test_checkpoint_restores_the_outputs_bit_for_bit(operations, tmp_path):
    structure, model = trained()
    model = compress(model, operations).eval()
    save_variant(tmp_path / "checkpoint.safetensors", model, structure, operations, {})
    loaded = load_variant(tmp_path / "checkpoint.safetensors")
    assert not loaded.training
    assert torch.equal(outputs(loaded), outputs(model))


def test_compressing_a_compressed_parent_stacks_the_operations(tmp_path):
    structure, model = trained()
    paths = [tmp_path / f"{name}.safetensors" for name in ("parent", "pruned", "quantized")]
    save_variant(paths[0], model, structure, [], {})
    pruning = {"name": "prune_heads", "keep_heads": 3}
    for parent, child, operation in (
        (*paths[:2], pruning),
        (*paths[1:], {"name": "int8_weight_only"}),
    ):
        script.compress(parent, child, "child", 0, [operation], 1000, {})
    metadata = read_metadata(paths[2])
    assert metadata["operations"] == [pruning, {"name": "int8_weight_only"}]
    assert list(metadata["origin"]["inputs"].values()) == [sha256_of(paths[1])]
    expected = compress(model, metadata["operations"])
    assert torch.equal(outputs(load_variant(paths[2])), outputs(expected))


def test_calibrated_heads_come_from_the_latents_and_are_loaded_without(tmp_path):
    structure, model = trained()
    parent, child = (tmp_path / f"{name}.safetensors" for name in ("parent", "child"))
    array, manifest = write_latent_cache(tmp_path, 7)
    pruning = {"name": "prune_heads", "keep_heads": 3, "criterion": "least_damage"}
    save_variant(parent, model, structure, [], {})
    script.compress(parent, child, "child", 0, [pruning], 1000, {}, array, manifest)
    inputs = read_metadata(child)["origin"]["inputs"]
    assert set(inputs.values()) == {sha256_of(parent), sha256_of(array)}
    loss = CalibrationLoss(LatentCache(array, manifest), 1000, CPU)
    array.unlink()
    expected = compress(model, [pruning], loss)
    assert torch.equal(outputs(load_variant(child)), outputs(expected))


def blocks_kept(keep_blocks, loss=None, depth=4, **options):
    structure = tiny(PHOTOS.structure("S2-base") | {"num_heads": NUM_HEADS}) | {"depth": depth}
    model = randomized(build_model(structure), torch.float32, std=0.2).eval()
    whole = copy.deepcopy(model)
    operation = {"name": "prune_blocks", "keep_blocks": keep_blocks, **options}
    return whole, compress(model, [operation], loss)


def kept_of(whole, pruned):
    states = [block.state_dict() for block in whole.blocks]
    return [
        next(
            index
            for index, state in enumerate(states)
            if all(torch.equal(state[name], weight) for name, weight in block.state_dict().items())
        )
        for block in pruned.blocks
    ]


@pytest.mark.parametrize(
    ("keep_blocks", "kept"), [(4, [0, 1, 2, 3]), (3, [0, 2, 3]), (2, [0, 3]), (1, [0])]
)
def test_blocks_are_kept_evenly(keep_blocks, kept):
    assert kept_of(*blocks_kept(keep_blocks)) == kept


def test_removed_blocks_compute_the_same_as_blocks_with_closed_gates():
    whole, pruned = blocks_kept(2, blocks=[3, 1])
    sizes = whole.modulation_sizes
    with torch.no_grad():
        for layer in (0, 2):
            rows = slice(sum(sizes[:layer]), sum(sizes[: layer + 1]))
            whole.modulation[1].weight[rows] = 0
            whole.modulation[1].bias[rows] = 0
    assert kept_of(whole, pruned) == [1, 3]
    torch.testing.assert_close(outputs(pruned), outputs(whole), rtol=1e-5, atol=1e-5)


def test_the_least_damaging_blocks_go_one_after_the_other():
    """By a loss that is known of every set: first 3, then 0."""
    losses = {(0, 1, 2): 1.0, (0, 1, 3): 2.0, (0, 2, 3): 3.0, (1, 2, 3): 4.0}
    losses |= {(1, 2): 5.0, (0, 2): 6.0, (0, 1): 7.0}
    whole = blocks_kept(4)[0]

    def loss(model):
        return losses[tuple(kept_of(whole, model))]

    before, pruned = blocks_kept(2, loss, criterion="least_damage")
    assert kept_of(before, pruned) == [1, 2]


def test_pruned_blocks_are_loaded_again(tmp_path):
    _, pruned = blocks_kept(2, blocks=[1, 2])
    structure = tiny(PHOTOS.structure("S2-base") | {"num_heads": NUM_HEADS}) | {"depth": 4}
    operation = {"name": "prune_blocks", "keep_blocks": 2, "blocks": [1, 2]}
    save_variant(tmp_path / "pruned.safetensors", pruned, structure, [operation], {})
    loaded = load_variant(tmp_path / "pruned.safetensors")
    assert torch.equal(outputs(loaded), outputs(pruned))
