"""Experts that choose their tokens, against a loop over images and experts."""

import pytest
import torch
from subjects import PHOTOS, random_tensor, randomized, tiny
from test_mlp import HIDDEN_SIZE, expert, gradients

from slimdit.core.errors import InputError
from slimdit.models.build import build_model, compress
from slimdit.models.mlp import MLP
from slimdit.profiling.cost import active_params, count_macs, total_params

NUM_TOKENS, NUM_EXPERTS = 8, 4
SHARED = [False, True]


@pytest.fixture
def x():
    return random_tensor("x", 3, NUM_TOKENS, HIDDEN_SIZE)


def make(capacity=2, shared=False, dtype=torch.float64, hidden_size=HIDDEN_SIZE, **options):
    options = {"name": "expert_choice", "num_experts": NUM_EXPERTS, **options}
    options |= {"capacity": capacity, "shared": shared}
    return randomized(MLP.build(options, hidden_size), dtype)


def taken(module, image):
    """The probabilities of one image's tokens where an expert takes them, else 0, (N, E)."""
    probabilities = (image @ module.gate.weight.T).softmax(-1)
    count = len(image) * module.capacity // module.num_experts
    least = probabilities.sort(0, descending=True).values[count - 1]
    return torch.where(probabilities >= least, probabilities, 0.0)


def reference(module, x):
    """Every expert on every token of each image, weighted by its probability where it takes it."""
    images = []
    for image in x:
        gates = taken(module, image)
        out = sum(gates[:, i, None] * expert(module, i, image) for i in range(module.num_experts))
        if module.shared:
            out = out + (1 - gates.sum(1, keepdim=True)) * module.shared(image)[0]
        images.append(out)
    return torch.stack(images)


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("capacity", [1, 2, NUM_EXPERTS])
def test_output_and_gradients_equal_a_loop_over_images_and_experts(capacity, shared, x):
    module, x = make(capacity, shared), x.requires_grad_()
    (y, routing), expected = module(x), reference(module, x)
    assert routing is None
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradients(module, y, x), gradients(module, expected, x))


def test_every_expert_takes_as_many_tokens_of_each_image(x):
    gates = torch.stack([taken(make(), image) for image in x])
    assert ((gates > 0).sum(1) == 2 * NUM_TOKENS // NUM_EXPERTS).all()
    assert (gates > 0).sum(2).unique().numel() > 1  # and tokens meet more experts or fewer


@pytest.mark.parametrize("shared", SHARED)
def test_an_image_is_the_same_in_any_batch(shared, x):
    module = make(shared=shared)
    alone = torch.cat([module(image)[0] for image in x.split(1)])
    torch.testing.assert_close(module(x)[0], alone, rtol=1e-12, atol=1e-12)


def test_all_taken_by_all_is_the_dense_weighted_sum(x):
    module = make(NUM_EXPERTS)
    gates = (x @ module.gate.weight.T).softmax(-1)
    dense = sum(gates[..., i, None] * expert(module, i, x) for i in range(NUM_EXPERTS))
    torch.testing.assert_close(module(x)[0], dense)


def test_a_token_that_no_expert_takes_is_the_shared_ones_alone(x):
    module = make(1, shared=True)
    untaken = torch.stack([taken(module, image) for image in x]).sum(2) == 0
    assert untaken.any()
    y = module(x)[0][untaken]
    torch.testing.assert_close(y, module.shared(x)[0][untaken])
    module.shared = None
    assert module(x)[0][untaken].abs().max() == 0


@pytest.mark.parametrize("shared", SHARED)
def test_bfloat16_autocast_chooses_in_float32_and_returns_the_input_type(shared, x):
    module, x = make(shared=shared, dtype=torch.float32), x.float()
    expected = module(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)[0]
        for parameter in module.autocast_parameters():
            parameter.data = parameter.data.bfloat16()
        assert torch.equal(module(x)[0], y)
    assert module.gate.weight.dtype == y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("shared", SHARED)
def test_it_compiles_as_one_graph(shared, x):
    module = make(shared=shared)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], module(x)[0])


def test_gradients_have_the_same_bits_however_threads_take_turns(two_threads):
    module = make(shared=True, dtype=torch.float32, hidden_size=96, num_experts=8)
    x = random_tensor("x", 32, 64, 96).float()

    def gradients():
        module.zero_grad()
        y = module(x)[0]
        y.square().sum().backward()
        return [y.detach(), *(parameter.grad.clone() for parameter in module.parameters())]

    first = gradients()
    for _ in range(15):
        assert all(map(torch.equal, gradients(), first))


def costs(mlp):
    structure = tiny(PHOTOS.structure("S2-base") | {"mlp": mlp})
    model = build_model(structure, 0)
    quantized = compress(build_model(structure, 0), [{"name": "int8_dynamic"}])
    layers = [name for name, each in quantized.named_modules() if "Int8" in type(each).__name__]
    return count_macs(model), total_params(model), active_params(model), layers


def test_two_experts_a_token_cost_a_dense_mlp_of_twice_the_width():
    mixed = {"name": "expert_choice", "num_experts": 8}
    routed = costs(mixed | {"capacity": 2})
    shared = costs(mixed | {"capacity": 1, "shared": True})
    dense = costs({"name": "dense", "mlp_ratio": 8})
    depth, width, num_tokens = 2, 24, 16
    router = depth * 8 * width
    assert routed[0] == shared[0] == dense[0] + num_tokens * router
    more_biases = depth * width  # of the second layer, which a wider MLP has once
    assert routed[2] == shared[2] == dense[2] + router + more_biases
    assert shared[1] - routed[1] == depth * (8 * width**2 + 5 * width)
    names = {name for name in dense[3] if ".mlp." in name}
    assert set(dense[3]) - names == set(routed[3])
    assert {name.replace(".shared.", ".") for name in shared[3]} == set(dense[3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_experts": 5}, "num_experts 5 does not divide capacity \\* num_tokens, 16"),
        ({"capacity": 5}, "capacity 5 is more than num_experts 4"),
        ({"capacity": 0}, "capacity is 0; it should be a whole number >= 1"),
        ({"capacity": 1.5}, "capacity is 1.5; it should be a whole number >= 1"),
        ({"shared": 1}, "shared is 1; it should be true or false"),
    ],
)
def test_options_that_do_not_fit_are_input_errors(options, message):
    options = {"name": "expert_choice", "num_experts": NUM_EXPERTS, "capacity": 2} | options
    with pytest.raises(InputError, match=message):
        MLP.build(options, HIDDEN_SIZE, num_tokens=NUM_TOKENS)
