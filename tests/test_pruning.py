"""What pruning by scores keeps: channels of MLPs, the loss to first order against plain sums."""

import copy

import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS, random_tensor, randomized, tiny

from slimdit.core.errors import InputError
from slimdit.data.latents import LatentCache
from slimdit.models.build import build_model, compress, empty_model
from slimdit.models.checkpoint import load_variant, save_variant
from slimdit.models.compression.prune_heads import PruneHeads
from slimdit.models.compression.prune_mlp import PruneMlp
from slimdit.models.compression.pruning import taylor_scores
from slimdit.profiling.cost import count_macs, total_params
from slimdit.training.calibration import NUM_IMAGES, PART_SIZE, CalibrationLoss

NUM_HEADS, HEAD_DIM, NUM_CHANNELS = 6, 4, 96
HIDDEN_SIZE, NUM_TOKENS, DEPTH = 24, 16, 2
CPU = torch.device("cpu")
CRITERIA = ["norm", "random", "taylor"]


def trained(variant="S2-base", dtype=torch.float32):
    structure = tiny(PHOTOS.structure(variant) | {"num_heads": NUM_HEADS})
    return structure, randomized(build_model(structure), dtype, std=0.2).eval()


def outputs(model):
    x = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32)
    with torch.inference_mode():
        return model(x, torch.tensor([3, 700]), torch.tensor([0, 2])).output


def narrow(keep_channels, **options):
    return {"name": "prune_mlp", "keep_channels": keep_channels, **options}


def applied(model, *operations, loss=None):
    return compress(copy.deepcopy(model), list(operations), loss)


class PlainLoss:
    """Of three images, two at once and one alone."""

    def __init__(self, dtype=torch.float32):
        self.x = random_tensor("images", 3, 4, 8, 8, dtype=dtype)
        self.t, self.y = torch.tensor([3, 400, 900]), torch.tensor([0, 1, 2])

    def of_image(self, model, index):
        given = (each[index : index + 1] for each in (self.x, self.t, self.y))
        return model(*given).output.square().mean()

    def of_images(self, model):
        for rows in (slice(2), slice(2, 3)):
            given = (each[rows] for each in (self.x, self.t, self.y))
            yield model(*given).output.square().flatten(1).mean(1)


@pytest.mark.parametrize(
    ("pruning", "layer", "width"),
    [(PruneHeads(1), "attention.proj", HEAD_DIM), (PruneMlp(1), "mlp.fc2", 1)],
)
def test_taylor_scores_are_squared_sums_of_gradient_times_weight(pruning, layer, width):
    """Of what takes a group as its input, image by image; and so by differences of the loss."""
    _, model = trained(dtype=torch.float64)
    loss, block = PlainLoss(torch.float64), model.blocks[1]
    weight = block.get_submodule(layer).weight
    groups = pruning.groups(block)
    found = taylor_scores(model, groups, loss)

    def by_group(tensor):
        return tensor.unflatten(1, (groups.count, width)).sum((0, 2))

    expected = 0
    for index in range(3):
        (gradient,) = torch.autograd.grad(loss.of_image(model, index), weight)
        expected = expected + by_group(gradient * weight.detach()).square() / 3
    torch.testing.assert_close(found, expected)

    columns, derivatives = slice(2 * width, 3 * width), []
    with torch.no_grad():
        plain = weight.clone()
        for index in range(3):
            sides = []
            for gate in (1 + 1e-6, 1 - 1e-6):
                weight[:, columns] = gate * plain[:, columns]
                sides.append(loss.of_image(model, index))
                weight.copy_(plain)
            derivatives.append((sides[0] - sides[1]) / 2e-6)
    assert torch.stack(derivatives).square().mean().item() == pytest.approx(
        expected[2].item(), rel=1e-4
    )


def test_taylor_scores_leave_the_model_as_it_was():
    _, model = trained()
    before = outputs(model)
    loss = PlainLoss()
    applied(model, narrow(9, criterion="taylor"), loss=loss)
    assert torch.equal(outputs(model), before)
    pruned = applied(model, narrow(NUM_CHANNELS, criterion="taylor"), loss=loss)
    assert torch.equal(outputs(pruned), before)
    assert not any(module._forward_pre_hooks for module in pruned.modules())


def test_the_losses_of_images_are_those_whose_mean_is_the_loss(tmp_path):
    _, model = trained()
    loss = CalibrationLoss(LatentCache(*write_latent_cache(tmp_path, 300)), 1000, CPU)
    parts = list(loss.of_images(model))
    assert [len(part) for part in parts] == [PART_SIZE] * (NUM_IMAGES // PART_SIZE)
    assert torch.cat(parts).mean().item() == pytest.approx(loss(model), rel=1e-6)
    assert parts[0].requires_grad


def test_taylor_finds_dead_groups_that_their_norms_hide():
    _, model = trained()
    with torch.no_grad():
        for block in model.blocks:
            block.attention.qkv.weight.view(3, -1, HIDDEN_SIZE)[:, :HEAD_DIM] *= 10
            block.attention.proj.weight[:, :HEAD_DIM] = 0
            block.mlp.fc1.weight[:8] *= 10
            block.mlp.fc2.weight[:, :8] = 0
    loss, expected = PlainLoss(), outputs(model)
    heads = {"name": "prune_heads", "keep_heads": NUM_HEADS - 1}
    for operation in (heads, narrow(NUM_CHANNELS - 8)):
        by_norm = applied(model, operation)
        by_loss = applied(model, operation | {"criterion": "taylor"}, loss=loss)
        torch.testing.assert_close(outputs(by_loss), expected)
        assert not torch.allclose(outputs(by_norm), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("keep_channels", [1, 30, 95])
def test_removed_channels_compute_the_same_as_channels_of_zeros(criterion, keep_channels):
    _, model = trained()
    loss, masked = PlainLoss(), copy.deepcopy(model)
    pruned = applied(model, narrow(keep_channels, criterion=criterion), loss=loss)
    with torch.no_grad():
        for own, block in zip(masked.blocks, pruned.blocks, strict=True):
            rows = own.mlp.fc1.weight[:, None] == block.mlp.fc1.weight  # (G, kept, C)
            is_kept = rows.all(2).any(1)
            assert is_kept.sum() == keep_channels
            assert torch.equal(block.mlp.fc2.weight, own.mlp.fc2.weight[:, is_kept])
            own.mlp.fc2.weight[:, ~is_kept] = 0
    torch.testing.assert_close(outputs(pruned), outputs(masked), rtol=1e-4, atol=1e-4)


def test_the_norm_of_a_channel_is_of_all_its_weights():
    _, model = trained()
    block, pruning = model.blocks[0], PruneMlp(1)
    fc1, fc2 = block.mlp.fc1, block.mlp.fc2
    expected = [
        torch.cat([fc1.weight[channel], fc1.bias[channel, None], fc2.weight[:, channel]]).norm()
        for channel in range(NUM_CHANNELS)
    ]
    torch.testing.assert_close(pruning.norms(pruning.groups(block)), torch.stack(expected))


def test_costs_are_those_of_narrower_layers():
    _, model = trained()
    pruned = applied(model, narrow(30))
    removed = NUM_CHANNELS - 30
    params = DEPTH * removed * (2 * HIDDEN_SIZE + 1)
    assert total_params(model) - total_params(pruned) == params
    macs = DEPTH * removed * 2 * HIDDEN_SIZE * NUM_TOKENS
    assert count_macs(model) - count_macs(pruned) == macs


CHAINS = [
    [narrow(30)],
    [narrow(30, criterion="random", seed=3)],
    [narrow(40, criterion="taylor"), narrow(30)],
    [{"name": "prune_heads", "keep_heads": 2, "criterion": "taylor"}, narrow(32)],
    [{"name": "prune_blocks", "keep_blocks": 1}, narrow(32), {"name": "int8_dynamic"}],
    [narrow(33), {"name": "int8_weight_only"}],
]


@pytest.mark.parametrize("operations", CHAINS, ids=str)
def test_a_checkpoint_restores_the_outputs_bit_for_bit(operations, tmp_path):
    structure, model = trained()
    loss = PlainLoss()
    pruned = applied(model, *operations, loss=loss)
    save_variant(tmp_path / "pruned.safetensors", pruned, structure, operations, {})
    loaded = load_variant(tmp_path / "pruned.safetensors")
    assert torch.equal(outputs(loaded), outputs(pruned))
    assert {block.mlp.fc1.out_features for block in loaded.blocks} <= {30, 32, 33}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_channels": 97}, "keep_channels 97 is more than num_channels 96"),
        ({"keep_channels": 0}, "keep_channels is 0; it should be a whole number >= 1"),
        ({"keep_channels": 9, "mode": "masked"}, "compression 'prune_mlp': .*'mode'"),
        ({"keep_channels": 9, "criterion": "least_damage"}, "should be norm, random or taylor"),
    ],
)
def test_options_that_do_not_fit_are_input_errors(options, message):
    _, model = trained()
    with pytest.raises(InputError, match=message):
        compress(model, [{"name": "prune_mlp", **options}])


def test_the_experts_of_a_mixture_are_not_pruned():
    structure = tiny(PHOTOS.structure("MoE-S2-8E2A"))
    with pytest.raises(InputError, match="cannot prune MixtureOfExperts: its channels cannot be"):
        compress(empty_model(structure), [narrow(8)])


def test_the_narrowest_of_several_widths_is_the_bound():
    structure = tiny(PHOTOS.structure("S2-base"))
    structure["mlp"] = {"name": "dense", "mlp_ratio": 1, "every": 2}
    with pytest.raises(InputError, match="keep_channels 25 is more than num_channels 24"):
        compress(empty_model(structure), [narrow(25)])
    model = compress(empty_model(structure), [narrow(9)])
    assert [block.mlp.fc1.out_features for block in model.blocks] == [9, 9]
