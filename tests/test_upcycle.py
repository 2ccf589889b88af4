"""Models whose MLPs are made into mixtures of copies: they begin as their parent."""

import pytest
import torch
from subjects import PHOTOS, random_tensor, randomized, tiny

from slimdit.core.errors import InputError
from slimdit.models.build import build_model, compress
from slimdit.models.compression import COMPRESSION

TOKEN_CHOICE = {"name": "upcycle", "num_experts": 8, "top_k": 2}
EXPERT_CHOICE = {"name": "upcycle_expert_choice", "num_experts": 8, "capacity": 1}
UPCYCLED = pytest.mark.parametrize("operation", [TOKEN_CHOICE, EXPERT_CHOICE], ids=str)


def parent(depth=2):
    structure = tiny(PHOTOS.structure("S2-base")) | {"depth": depth}
    return randomized(build_model(structure), torch.float32, std=0.2).eval()


def output(model):
    inputs = random_tensor("x", 2, 4, 8, 8, dtype=torch.float32), torch.tensor([3, 700])
    with torch.inference_mode():
        return model(*inputs, torch.tensor([0, 2])).output


@UPCYCLED
def test_an_upcycled_model_begins_as_its_parent(operation):
    expected, model = output(parent()), compress(parent(), [operation])
    assert all(block.mlp.num_experts == 8 for block in model.blocks)
    assert (output(model) - expected).abs().max() <= 1e-6 * expected.abs().max()
    other = compress(parent(), [operation | {"seed": 1}])
    weights = [each.blocks[0].mlp.gate.weight for each in (model, other)]
    assert not torch.equal(*weights) and weights[0].shape == weights[1].shape
    assert weights[0].std().item() == pytest.approx(0.02, rel=0.3)


@UPCYCLED
def test_copies_come_to_differ(operation):
    model = compress(parent(), [operation]).train()
    prediction = model(torch.ones(2, 4, 8, 8), torch.tensor([3, 700]), torch.tensor([0, 2]))
    prediction.output.square().sum().backward()
    grad = model.blocks[0].mlp.weight1.grad
    assert not all(torch.equal(each, grad[0]) for each in grad)
    assert all(parameter.requires_grad for parameter in model.blocks.parameters())


@UPCYCLED
def test_every_other_mlp_may_stay_dense(operation):
    model = compress(parent(depth=5), [operation | {"every": 2}])
    assert [block.mlp.is_dense for block in model.blocks] == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TOKEN_CHOICE | {"top_k": 1}, "top_k is 1; it should be a whole number >= 2"),
        (TOKEN_CHOICE | {"top_k": 9}, "top_k 9 is more than num_experts 8"),
        (TOKEN_CHOICE | {"every": 3}, "every 3 is more than depth 2"),
        (EXPERT_CHOICE | {"num_experts": 3}, "num_experts 3 does not divide capacity \\* num_tok"),
        (EXPERT_CHOICE | {"seed": -1}, "seed is -1; it should be a whole number >= 0"),
    ],
)
def test_upcycling_that_does_not_fit_is_an_input_error(options, message):
    with pytest.raises(InputError, match=message):
        COMPRESSION.build(options, depth=2, num_tokens=8)


def test_the_shared_expert_is_the_parents_own_mlp():
    model = parent()
    dense = [block.mlp for block in model.blocks]
    mixtures = [block.mlp for block in compress(model, [EXPERT_CHOICE]).blocks]
    assert all(each.shared is its for each, its in zip(mixtures, dense, strict=True))
