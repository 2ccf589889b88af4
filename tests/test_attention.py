"""Every attention against its N x N formula, written out in float64."""

import pytest
import torch
from subjects import random_tensor, randomized
from torch.nn import functional as F

from slimdit.core.errors import InputError
from slimdit.models import ops
from slimdit.models.attention import ATTENTION
from slimdit.models.attention.focused import EPSILON, focus

BATCH, GRID, HIDDEN_SIZE, NUM_HEADS = 2, 4, 24, 6
TOKENS = GRID**2
OPTIONS = {
    "full": {},
    "shallow": {},
    "mediated": {"num_mediators": 4},
    "focused": {"group_size": 3},
    "full_local": {},
}


def make(name, dtype=torch.float64, **options):
    return randomized(ATTENTION[name](HIDDEN_SIZE, NUM_HEADS, **options), dtype)


@pytest.fixture
def x():
    return random_tensor("x", BATCH, TOKENS, HIDDEN_SIZE)


def slices(linear, parts, heads):
    """(part, head) -> the head's projection of x, as a function."""
    weight = linear.weight.reshape(parts, heads, -1, HIDDEN_SIZE)
    bias = linear.bias.reshape(parts, heads, -1)
    return lambda x, part, head: x @ weight[part, head].T + bias[part, head]


def softmax_weights(q, k):
    """(N, d), (M, d) -> (N, M)."""
    scores = (q @ k.T / q.shape[-1] ** 0.5).exp()
    return scores / scores.sum(-1, keepdim=True)


def softmax_reference(module, x, weights_of=softmax_weights):
    """weights_of: (q, k), both (N, d) -> (N, N). With the module's convolution, if it has one."""
    project = slices(module.qkv, 3, NUM_HEADS)
    images = []
    for one in x:
        heads, values = [], []
        for head in range(NUM_HEADS):
            q, k, v = (project(one, part, head) for part in range(3))
            heads.append(weights_of(q, k) @ v)
            values.append(v)
        attended = torch.cat(heads, dim=-1)
        if getattr(module, "local", None):
            attended = attended + depthwise(torch.cat(values, -1), module.local)
        images.append(attended @ module.proj.weight.T + module.proj.bias)
    return torch.stack(images)


def mediated_weights(side):
    def weights(q, k):
        t = pooled(q, side)
        return softmax_weights(q, t) @ softmax_weights(t, k)

    return weights


def pooled(tokens, side):
    """Means over square blocks of the grid, row by row: (N, d) -> (side^2, d)."""
    block = GRID // side
    image = tokens.reshape(GRID, GRID, -1)
    return torch.stack(
        [
            image[r * block : (r + 1) * block, c * block : (c + 1) * block].mean((0, 1))
            for r in range(side)
            for c in range(side)
        ]
    )


def depthwise(tokens, layer):
    """Convolution with zero padding, one filter a channel, as a sum over shifts: (N, C)."""
    size = layer.weight.shape[-1]
    padded = F.pad(tokens.reshape(GRID, GRID, -1), (0, 0, *4 * [size // 2]))
    shifted = sum(
        padded[r : r + GRID, c : c + GRID] * layer.weight[:, 0, r, c]
        for r in range(size)
        for c in range(size)
    )
    return (shifted + layer.bias).reshape(TOKENS, -1)


def focused_reference(module, x):
    """phi(Q) phi(K)^T, rows normalised, times V; head h uses key-value head h // group_size."""
    groups = NUM_HEADS // module.group_size
    query, key_value = slices(module.q, 1, NUM_HEADS), slices(module.kv, 2, groups)
    images = []
    for one in x:
        heads = []
        for head in range(NUM_HEADS):
            group = head // module.group_size
            weights = focus(query(one, 0, head)) @ focus(key_value(one, 0, group)).T  # (N, N)
            weights = weights / weights.sum(-1, keepdim=True)
            value = key_value(one, 1, group)
            heads.append(weights @ value)
            if module.local is not None:
                heads[-1] = heads[-1] + depthwise(value, module.local)
        images.append(torch.cat(heads, -1) @ module.proj.weight.T + module.proj.bias)
    return torch.stack(images)


@pytest.mark.parametrize("name", ["full", "shallow", "full_local"])
def test_softmax_attention_equals_its_formula(name, x):
    module = make(name)
    torch.testing.assert_close(module(x), softmax_reference(module, x))


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("side", [1, 2])
def test_mediated_attention_equals_its_formula(side, local, x):
    module = make("mediated", num_mediators=side**2, local=local)
    torch.testing.assert_close(module(x), softmax_reference(module, x, mediated_weights(side)))


def test_mediators_as_many_as_tokens_are_the_queries(x):
    module = make("mediated", num_mediators=TOKENS)
    torch.testing.assert_close(module(x), softmax_reference(module, x, mediated_weights(GRID)))


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("group_size", [1, 2, 3, 6])
def test_focused_attention_equals_its_formula(group_size, local, x):
    module = make("focused", group_size=group_size, local=local)
    torch.testing.assert_close(module(x), focused_reference(module, x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("full_local", {}),
        ("mediated", {"num_mediators": 4}),
        ("mediated", {"num_mediators": 4, "local": False}),
        ("focused", {"group_size": 3, "local": True}),
    ],
)
def test_tokens_of_no_square_grid_are_refused(name, options, x):
    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        make(name, **options)(x[:, 1:])


def test_group_size_one_is_no_grouping(x):
    """Grouped heads are ungrouped heads that happen to have equal keys and values."""
    grouped, single = make("focused", group_size=3), make("focused", group_size=1)
    state = grouped.state_dict()
    for name in ("kv.weight", "kv.bias"):
        parts = state[name].reshape(2, NUM_HEADS // 3, grouped.head_dim, -1)
        parts = parts.repeat_interleave(3, dim=1)
        state[name] = parts.reshape(single.state_dict()[name].shape)
    single.load_state_dict(state)
    torch.testing.assert_close(single(x), grouped(x))


def test_focus_keeps_the_norm_and_sharpens_the_direction():
    x = random_tensor("features", 5, 8).abs()
    sharpened = focus(x)
    torch.testing.assert_close(sharpened.norm(dim=-1), (x + EPSILON).norm(dim=-1))
    assert (sharpened.max(-1).values > x.max(-1).values).all()


def test_focused_attention_survives_features_that_are_all_negative():
    module = make("focused", torch.float32, group_size=3)
    with torch.no_grad():
        module.q.bias.fill_(-100.0)
        module.kv.bias.fill_(-100.0)
    assert module(random_tensor("x", 1, TOKENS, HIDDEN_SIZE, dtype=torch.float32)).isfinite().all()


@pytest.mark.parametrize("name", OPTIONS)
def test_fused_and_plain_paths_agree_with_their_gradients(name, x):
    module = make(name, **OPTIONS[name])
    fused = module(x)
    fused.square().sum().backward()
    gradients = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    with ops.plain():
        plain = module(x)
        plain.square().sum().backward()
    torch.testing.assert_close(fused, plain)
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_dtype_and_gradients_of_every_attention(name, dtype):
    module = make(name, dtype, **OPTIONS[name])
    x = random_tensor("x", BATCH, TOKENS, HIDDEN_SIZE, dtype=dtype).requires_grad_()
    y = module(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    y.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("options", "num_heads", "message"),
    [
        ({"name": "full"}, 5, "hidden_size 24 is not a multiple of num_heads 5"),
        ({"name": "full", "head_dim": 0}, 6, "head_dim is 0; it should be a whole number >= 1"),
        ({"name": "full_local"}, 5, "hidden_size 24 is not a multiple of num_heads 5"),
        ({"name": "mediated", "num_mediators": 4, "local": 1}, 6, "should be true or false"),
        ({"name": "shallow"}, 24, r"hidden_size 24 is not a multiple of 2 \* num_heads, 48"),
        ({"name": "mediated", "num_mediators": 5}, 6, "num_mediators 5 is not a square"),
        ({"name": "mediated", "num_mediators": 25}, 6, "num_mediators 25 is more than num_tokens"),
        ({"name": "focused", "group_size": 4}, 6, "group_size 4 does not divide num_heads 6"),
        ({"name": "focused", "group_size": 0}, 6, "group_size 0 does not divide num_heads 6"),
    ],
)
def test_sizes_that_do_not_fit_are_input_errors(options, num_heads, message):
    with pytest.raises(InputError, match=message):
        ATTENTION.build(options, HIDDEN_SIZE, num_heads, num_tokens=TOKENS)
