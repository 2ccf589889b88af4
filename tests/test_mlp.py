"""The mixture of experts against a loop over experts, and its routing's edge cases."""

from types import SimpleNamespace

import pytest
import torch
from subjects import random_tensor, randomized
from torch import library
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.models import ops
from slimdit.models.mlp import MLP
from slimdit.models.mlp.dense import DenseMlp
from slimdit.models.mlp.moe import MixtureOfExperts

HIDDEN_SIZE, NUM_EXPERTS = 6, 4


@pytest.fixture
def x():
    return random_tensor("x", 3, 5, HIDDEN_SIZE)


def make(top_k, num_experts=NUM_EXPERTS, dtype=torch.float64):
    return randomized(MixtureOfExperts(HIDDEN_SIZE, num_experts, top_k), dtype)


def expert(module, i, x):
    hidden = F.gelu(x @ module.weight1[i] + module.bias1[i], approximate="tanh")
    return hidden @ module.weight2[i] + module.bias2[i]


def reference(module, x):
    """Every expert on every token, weighted by its probability where it is among the top_k."""
    probabilities = (x @ module.gate.weight.T).softmax(-1)
    least = probabilities.sort(-1, descending=True).values[..., module.top_k - 1, None]
    gates = torch.where(probabilities >= least, probabilities, 0.0)
    return sum(gates[..., i, None] * expert(module, i, x) for i in range(module.num_experts))


def gradients(module, y, x):
    return torch.autograd.grad(y.square().sum(), [x, *module.parameters()])


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_output_and_gradients_equal_a_loop_over_experts(top_k, x):
    module, x = make(top_k), x.requires_grad_()
    y, expected = module(x)[0], reference(module, x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradients(module, y, x), gradients(module, expected, x))


def test_all_experts_chosen_is_the_dense_weighted_sum(x):
    module = make(NUM_EXPERTS)
    gates = (x @ module.gate.weight.T).softmax(-1)
    dense = sum(gates[..., i, None] * expert(module, i, x) for i in range(NUM_EXPERTS))
    torch.testing.assert_close(module(x)[0], dense)


def test_segmented_and_plain_multiplications_agree_with_their_gradients(x):
    module, x = make(2), x.requires_grad_()
    y = module(x)[0]
    segmented = gradients(module, y, x)
    with ops.plain():
        plain_y = module(x)[0]
        plain = gradients(module, plain_y, x)
    torch.testing.assert_close(y, plain_y)
    torch.testing.assert_close(segmented, plain)


def test_one_expert_of_one_is_the_dense_mlp(x):
    module, dense = make(1, num_experts=1), DenseMlp(HIDDEN_SIZE).double()
    weights = {
        "fc1.weight": module.weight1[0].T,
        "fc1.bias": module.bias1[0],
        "fc2.weight": module.weight2[0].T,
        "fc2.bias": module.bias2[0],
    }
    dense.load_state_dict(weights)
    torch.testing.assert_close(module(x)[0], dense(x)[0])


def test_dense_mlp_routes_nothing(x):
    assert DenseMlp(HIDDEN_SIZE).double()(x)[1] is None


def test_gelu_of_a_compiled_graph_is_gelu_with_its_gradient(x, monkeypatch):
    x = (10 * x).requires_grad_()
    expected = F.gelu(x, approximate="tanh")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = ops.gelu(x)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.sum(), x) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("top_k", [1, 2, NUM_EXPERTS])
def test_load_is_the_fraction_of_slots_and_sums_to_one(top_k, x):
    module = make(top_k)
    load = module(x)[1].load
    chosen = (x @ module.gate.weight.T).topk(top_k, dim=-1).indices
    counts = torch.bincount(chosen.flatten(), minlength=NUM_EXPERTS)
    torch.testing.assert_close(load, counts.double() / chosen.numel())
    assert load.sum().item() == pytest.approx(1.0)


def test_balance_loss_follows_its_formula(x):
    module = make(2)
    routing = module(x)[1]
    mean_probability = (x @ module.gate.weight.T).softmax(-1).mean((0, 1))
    expected = NUM_EXPERTS * (routing.load * mean_probability).sum()
    torch.testing.assert_close(routing.balance_loss(), expected)


def test_balance_loss_of_a_batch_is_the_mean_of_its_parts_given_its_load(x):
    module = make(2)
    whole, parts = module(x)[1], {part: module(part)[1] for part in x.split(1)}
    loss = sum(routing.balance_loss(whole.load) for routing in parts.values()) / len(x)
    torch.testing.assert_close(loss, whole.balance_loss())
    assert not torch.allclose(sum(r.balance_loss() for r in parts.values()) / len(x), loss)


def test_balance_loss_is_one_when_routing_is_uniform():
    """Each token along one axis, the gate the identity: every expert gets the same share."""
    module = make(1, num_experts=HIDDEN_SIZE)
    with torch.no_grad():
        module.gate.weight.copy_(torch.eye(HIDDEN_SIZE))
    routing = module(torch.eye(HIDDEN_SIZE, dtype=torch.float64)[None])[1]
    torch.testing.assert_close(routing.load, torch.full_like(routing.load, 1 / HIDDEN_SIZE))
    assert routing.balance_loss().item() == pytest.approx(1.0)


def test_balance_loss_is_the_number_of_experts_when_one_takes_all(x):
    module = make(1)
    with torch.no_grad():
        module.gate.weight.zero_()
        module.gate.weight[2] = 1e4
    routing = module(x.abs())[1]
    assert routing.load.tolist() == [0, 0, 1, 0]
    assert routing.balance_loss().item() == pytest.approx(NUM_EXPERTS)


def test_balance_loss_teaches_the_gate(x):
    module = make(2)
    module(x)[1].balance_loss().backward()
    assert module.gate.weight.grad.abs().sum() > 0
    assert module.weight1.grad is None


def test_experts_without_tokens_get_zero_gradients(x):
    module = make(1)
    with torch.no_grad():
        module.gate.weight.zero_()
        module.gate.weight[1] = 1e4
    module(x.abs())[0].sum().backward()
    assert module.weight1.grad[[0, 2, 3]].abs().sum() == 0
    assert module.weight1.grad[1].abs().sum() > 0


def test_bfloat16_autocast_routes_in_float32_and_returns_the_input_type(x):
    module, x = make(2, dtype=torch.float32), x.float()
    expected, expected_routing = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, routing = module(x)
    assert (y.dtype, routing.balance_loss().dtype) == (torch.float32, torch.float32)
    assert torch.equal(routing.load, expected_routing.load)
    torch.testing.assert_close(y, expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("top_k", [0, NUM_EXPERTS + 1])
def test_top_k_outside_the_experts_is_an_input_error(top_k):
    with pytest.raises(InputError, match=f"top_k (is )?{top_k}"):
        MLP.build({"name": "moe", "num_experts": NUM_EXPERTS, "top_k": top_k}, HIDDEN_SIZE)


@pytest.mark.parametrize("top_k", [2, 3])
def test_normalised_gates_are_shares_of_the_chosen_experts(top_k, x):
    module = randomized(MixtureOfExperts(HIDDEN_SIZE, NUM_EXPERTS, top_k, normalise=True))
    values, chosen = (x @ module.gate.weight.T).topk(top_k, dim=-1)
    gates = x.new_zeros(*x.shape[:2], NUM_EXPERTS)
    gates = gates.scatter(-1, chosen, values.softmax(-1))
    expected = sum(gates[..., i, None] * expert(module, i, x) for i in range(NUM_EXPERTS))
    torch.testing.assert_close(module(x)[0], expected)


def test_one_normalised_gate_would_teach_the_router_nothing():
    options = {"name": "moe", "num_experts": NUM_EXPERTS, "top_k": 1, "normalise": True}
    with pytest.raises(InputError, match="top_k 1 is less than 1 \\+ normalise, 2"):
        MLP.build(options, HIDDEN_SIZE)


def test_a_bias_chooses_experts_and_does_not_weight_them(x):
    plain = randomized(MixtureOfExperts(HIDDEN_SIZE, NUM_EXPERTS, 2))
    biased = randomized(MixtureOfExperts(HIDDEN_SIZE, NUM_EXPERTS, 2, balance_rate=0.01))
    assert torch.equal(biased(x)[0], plain(x)[0])
    biased.bias[:2] = 2.0
    probabilities = (x @ biased.gate.weight.T).softmax(-1)
    expected = sum(probabilities[..., i, None] * expert(biased, i, x) for i in range(2))
    y, routing = biased(x)
    torch.testing.assert_close(y, expected)
    assert routing.load.tolist() == [0.5, 0.5, 0, 0]


def test_biases_move_toward_an_even_load_by_their_rate():
    module = MixtureOfExperts(HIDDEN_SIZE, NUM_EXPERTS, 1, balance_rate=0.01)
    module.rebalance(torch.tensor([0.5, 0.25, 0.2, 0.05]))
    torch.testing.assert_close(module.bias, torch.tensor([-0.01, 0.0, 0.01, 0.01]))


def test_biases_even_out_loads(x):
    module = randomized(MixtureOfExperts(HIDDEN_SIZE, NUM_EXPERTS, 1, balance_rate=0.01))
    x = random_tensor("many", 8, 64, HIDDEN_SIZE) + 1.0
    first = module(x)[1].load
    for _ in range(300):
        module.rebalance(module(x)[1].load)
    assert first.max() > 0.5 and (module(x)[1].load - 0.25).abs().max() < 0.05


@pytest.fixture
def segments():
    """Rows in four groups, one of them empty."""
    x, weight = random_tensor("rows", 7, 3), random_tensor("matrices", 4, 3, 2)
    return x.requires_grad_(), weight.requires_grad_(), torch.tensor([2, 2, 6, 7]).int()


def test_segment_matmul_is_one_multiplication_a_group(segments):
    x, weight, ends = segments
    expected = torch.cat([x[:2] @ weight[0], x[2:6] @ weight[2], x[6:] @ weight[3]])
    torch.testing.assert_close(ops.grouped_matmul(x, weight, ends), expected)


GROUPS = {"even": [64, 128, 192, 256], "one": [0, 0, 300, 300], "uneven": [1, 130, 130, 700]}


@pytest.mark.parametrize("ends", GROUPS.values(), ids=GROUPS)
def test_blocks_of_rows_give_the_products_and_gradients_of_groups(ends):
    """With groups that fill a block, that have none of the rows, and that need several blocks."""
    x, weight = random_tensor("rows", ends[-1], 3), random_tensor("matrices", 4, 3, 2)
    inputs, ends = (x.requires_grad_(), weight.requires_grad_()), torch.tensor(ends).int()
    found, expected = (
        multiply(*inputs, ends) for multiply in (ops.blocked_matmul, ops.segment_matmul)
    )
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_blocks_of_rows_are_one_graph_whatever_the_groups(segments):
    x, weight, ends = segments
    compiled = torch.compile(ops.blocked_matmul, fullgraph=True, backend="aot_eager")
    for sizes in (ends, torch.tensor([0, 7, 7, 7]).int()):
        expected = ops.segment_matmul(x, weight, sizes)
        torch.testing.assert_close(compiled(x, weight, sizes), expected)


@pytest.mark.parametrize(
    ("is_cuda", "dtype", "capability", "kernel"),
    [
        (False, torch.float32, None, "segment_matmul"),
        (True, torch.bfloat16, (9, 0), "fused_matmul"),
        (True, torch.bfloat16, (10, 0), "blocked_matmul"),
        (True, torch.bfloat16, (12, 0), "blocked_matmul"),
        (True, torch.float32, (9, 0), "blocked_matmul"),
        (True, torch.bfloat16, (8, 0), "blocked_matmul"),
    ],
)
def test_kernel_of_groups_is_the_devices_fastest(is_cuda, dtype, capability, kernel, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    x = SimpleNamespace(is_cuda=is_cuda, dtype=dtype, device="cuda")
    assert ops.grouped_kernel(x) is getattr(ops, kernel)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rows_of_groups_and_their_gradient(dtype):
    """In bfloat16 too, where sums of so many rows that are rounded again and again are far off."""
    table, rows = random_tensor("table", 4, 3), random_tensor("rows", 1 << 15, 3)
    group = (torch.arange(len(rows)) // 9000).clamp(max=2)  # the last group has no rows
    ours = table.to(dtype).requires_grad_()
    found = ops.rows_of_groups(ours, group)  # of an E that is not a multiple of 8
    assert torch.equal(found, ours[group])
    found.backward(rows.to(dtype))
    expected = torch.stack([rows.to(dtype).double()[group == i].sum(0) for i in range(4)])
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 0.005}[dtype]
    assert (ours.grad.double() - expected).norm() <= tolerance * expected.norm()


def test_segment_operators_are_sound_for_autograd_and_compilation(segments):
    x, weight, ends = segments
    library.opcheck(ops.segment_matmul, segments)
    outer = (x.detach(), random_tensor("grad", 7, 2), ends)
    library.opcheck(ops.segment_outer, outer)
    assert torch.autograd.gradcheck(lambda a, b: ops.segment_matmul(a, b, ends), (x, weight))


def test_gradients_have_the_same_bits_however_threads_take_turns(two_threads):
    module = randomized(MixtureOfExperts(96, num_experts=8, top_k=2), torch.float32)
    x = random_tensor("x", 32, 64, 96).float()

    def gradients():
        module.zero_grad()
        module(x)[0].square().sum().backward()
        return [parameter.grad.clone() for parameter in module.parameters()]

    first = gradients()
    for _ in range(15):
        assert all(map(torch.equal, gradients(), first))
