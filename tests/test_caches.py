"""Caches across steps: what is kept, which steps are full, and what that does to images."""

import copy

import numpy as np
import pytest
import torch
from subjects import PHOTOS, random_tensor, randomized, tiny
from torch import nn
from torch.nn import functional as F

from calibrate_cache import calibrate_cache
from count_cost import count_cost
from slimdit.core.errors import InputError
from slimdit.diffusion.caches import CACHES
from slimdit.diffusion.calibration import NUM_IMAGES, block_errors
from slimdit.diffusion.guidance import cache_of, guided_steps, num_passes
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for, noise_for
from slimdit.diffusion.process import alpha_bars
from slimdit.diffusion.timesteps import chosen_timesteps, lambdas_of
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import save_variant
from slimdit.models.dit import modulate
from slimdit.profiling.cost import count_macs
from slimdit.storage.files import read_json
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study

T, STEPS = 1000, 9
CPU = torch.device("cpu")
INTERVAL = {"guidance_interval": [0.3, 6.0]}  # guides some steps in the middle
SAMPLING = PHOTOS.config["sampling"] | {
    "steps": STEPS,
    "timesteps": "trailing",
    "batch_size": 3,
    "guidance_scale": 2.0,
}
REUSE, STACK = {"name": "reuse"}, {"name": "reuse", "of": "stack", "every": 3}
LINE = {"name": "extrapolate"}
LAMBDA = {"name": "extrapolate", "of": "stack", "every": 3, "along": "lambda"}
LISTED = {"name": "listed", "full_steps": [3, 4, 8]}
ALL = [REUSE, STACK, LINE, LAMBDA, LISTED]
CALIBRATED = {"name": "calibrated", "max_error": 0.2}
INDICES, LABELS = np.arange(3), np.array([0, 1, 2])


def model_of(variant, dtype=torch.float32):
    model = randomized(build_model(tiny(PHOTOS.structure(variant))), dtype, std=0.1)
    return compress(model, PHOTOS.operations(variant)).eval()


@pytest.fixture(scope="module")
def model():
    return model_of("S2-base")


@pytest.fixture(scope="module")
def guide():
    return model_of("XS4-base")


def sampled(model, guiding=None, **changes):
    return LatentSampler(model, SAMPLING | changes, T, CPU, guiding).latents(INDICES, LABELS)


def full_in_order(cache, is_guided):
    """Of each step, the first one first."""
    is_guided = np.array(is_guided, bool)[::-1]
    built = CACHES.build(cache, np.zeros(len(is_guided)), is_guided, steps=len(is_guided))
    return built.is_full[::-1].astype(int).tolist()


@pytest.mark.parametrize(
    ("cache", "is_guided", "expected"),
    [
        ({"name": "reuse"}, [1] * 5, [1, 0, 1, 0, 1]),
        ({"name": "reuse", "every": 3}, [0] * 8, [1, 0, 0, 1, 0, 0, 1, 0]),
        ({"name": "reuse", "every": 8}, [0] * 8, [1, 0, 0, 0, 0, 0, 0, 0]),
        ({"name": "reuse", "every": 3}, [0, 0, 1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1, 1, 0]),
        ({"name": "listed", "full_steps": []}, [0] * 3, [1, 0, 0]),
        ({"name": "listed", "full_steps": [0, 2]}, [0] * 4, [1, 0, 1, 0]),
        ({"name": "listed", "full_steps": [1]}, [0, 0, 0, 1, 1, 0], [1, 1, 0, 1, 0, 1]),
        ({"name": "calibrated", "max_error": 0.1}, [0, 1, 0, 0], [1, 1, 1, 1]),
        ({"name": "extrapolate", "every": 2}, [1] * 6, [1, 1, 0, 1, 0, 1]),
        ({"name": "extrapolate", "every": 3}, [1] * 8, [1, 1, 0, 0, 1, 0, 0, 1]),
        ({"name": "extrapolate", "every": 2}, [0, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 1, 0]),
    ],
)
def test_full_steps_are_those_asked_for_and_the_first_of_a_stretch(cache, is_guided, expected):
    assert full_in_order(cache, is_guided) == expected


@pytest.mark.parametrize("along", ["steps", "lambda"])
@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_line_is_extrapolated_exactly(along, every):
    kept = chosen_timesteps("trailing", T, STEPS)
    lambdas, is_guided = lambdas_of(T)[kept], np.arange(STEPS) > 4
    options = {"name": "extrapolate", "every": every, "along": along}
    cache = CACHES.build(options, lambdas, is_guided, steps=STEPS).double()
    s = torch.from_numpy(lambdas if along == "lambda" else -np.arange(STEPS)).double()
    start, slope = random_tensor("start", 2, 3, 4), random_tensor("slope", 2, 3, 4)
    values, num_cached = [], 0
    for k in reversed(range(STEPS)):
        value = start + s[k] * slope
        if cache.is_full[k]:
            values = [value, *values]
        else:
            predicted = cache.predicted(torch.tensor([k]), *values[:2])
            torch.testing.assert_close(predicted, value, rtol=1e-6, atol=1e-6)
            num_cached += 1
    assert num_cached


@pytest.mark.parametrize("of", ["blocks", "stack"])
@pytest.mark.parametrize(
    "variant",
    [
        *("S2-base", "S2-shallow", "S2-med-4", "S2-fg-3", "S2-full-local"),
        *("MoE-S2-8E2A", "MoE-S2-4E1A", "S2-prune-3", "Q-S2"),
    ],
)
@torch.inference_mode()
def test_a_pass_from_its_own_values_is_that_pass(variant, of):
    model = model_of(variant)
    x = random_tensor("x", 2, model.in_channels, 8, 8, dtype=torch.float32)
    c = model.embedding(torch.tensor([700, 700]), torch.tensor([0, 2]))
    expected = model.conditioned(x, c).output
    cache = cache_of(SAMPLING | {"cache": {"name": "reuse", "of": of}}, T)
    full, kept = cache(model, x, c, torch.tensor([3]), ())
    cached, nothing = cache(model, x, c, torch.tensor([2]), [kept])
    torch.testing.assert_close(full, expected)
    torch.testing.assert_close(cached, expected, rtol=1e-4, atol=1e-5)
    assert nothing == () and kept[0].shape == (2, model.grid_size**2, model.hidden_size)


class PlainCached:
    """A model's passes in a stretch of steps that are guided alike, written from the equations."""

    def __init__(self, model, name, every=2, of="blocks", along="steps", full_steps=None):
        self.model, self.every, self.of, self.along = model, every, of, along
        self.order = {"reuse": 0, "listed": 0, "extrapolate": 1}[name]
        self.full_steps = full_steps
        self.known = []  # (place, values) of full steps, the latest last

    def __call__(self, x, t, y, done, log_ratio):
        model, place = self.model, log_ratio if self.along == "lambda" else done
        c = model.timestep_embedder(torch.full_like(y, t)) + model.label_embedder(y)
        modulation = F.linear(F.silu(c), model.modulation[1].weight, model.modulation[1].bias)
        *parts, final = modulation.split(model.modulation_sizes, dim=1)
        x = model.patch_embedder(x).flatten(2).mT + model.position_embedding
        if len(self.known) <= self.order or self.is_due(done):
            x = self.compute(x, parts, place, done)
        else:
            x = self.predict(x, parts, place)
        shift, scale = final.chunk(2, dim=1)
        x = model.final_layer.linear(modulate(model.final_layer.norm(x), shift, scale))
        return model._unpatchify(x)

    def is_due(self, done):
        if self.full_steps is not None:
            return done in self.full_steps
        return done - self.known[-1][2] == self.every

    def compute(self, x, parts, place, done):
        start, values = x, []
        for block, part in zip(self.model.blocks, parts, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = part.chunk(6, dim=1)
            values.append(block.attention(modulate(block.norm1(x), shift1, scale1)))
            x = x + gate1[:, None] * values[-1]
            values.append(block.mlp(modulate(block.norm2(x), shift2, scale2))[0])
            x = x + gate2[:, None] * values[-1]
        self.known.append((place, [x - start] if self.of == "stack" else values, done))
        return x

    def predict(self, x, parts, place):
        last, values, _ = self.known[-1]
        if self.order:
            before, earlier, _ = self.known[-2]
            part = (place - last) / (last - before)
            values = [one + part * (one - two) for one, two in zip(values, earlier, strict=True)]
        if self.of == "stack":
            return x + values[0]
        gates = [gate for part in parts for gate in part.chunk(6, dim=1)[2::3]]
        return x + sum(gate[:, None] * each for gate, each in zip(gates, values, strict=True))


@torch.inference_mode()
def plain_images(model, guide, sampling):
    """DDIM in float64."""
    kept = chosen_timesteps(sampling["timesteps"], T, STEPS)
    levels, scale = np.append(1.0, alpha_bars(T)[kept]), sampling["guidance_scale"]
    low, high = sampling["guidance_interval"] or (0, np.inf)
    shape, y = (model.in_channels, 8, 8), torch.from_numpy(LABELS)
    x = torch.from_numpy(noise_for(sampling["seed"], "image/start", INDICES, shape)).double()
    null, was_guided = torch.full_like(y, model.null_class), None
    for done, k in enumerate(reversed(range(STEPS))):
        level, previous = levels[k + 1], levels[k]
        is_guided = low < np.sqrt(1 / level - 1) <= high
        if is_guided != was_guided:
            own, weak, of_guide = (
                PlainCached(each, **sampling["cache"]) for each in (model, model, guide)
            )
        was_guided, at = is_guided, (done, np.log(level / (1 - level)) / 2)
        eps = own(x, kept[k], y, *at).chunk(2, dim=1)[0]
        if is_guided:
            other = of_guide(x, kept[k], y, *at) if guide else weak(x, kept[k], null, *at)
            other = other.chunk(2, dim=1)[0]
            eps = other + scale * (eps - other)
        x0 = (x - np.sqrt(1 - level) * eps) / np.sqrt(level)
        x = np.sqrt(previous) * x0 + np.sqrt(1 - previous) * eps
    return x


@pytest.mark.parametrize("cache", ALL)
@pytest.mark.parametrize("changes", [{}, INTERVAL, INTERVAL | {"guide": "XS4-base"}])
def test_images_are_those_of_a_plain_implementation(model, guide, cache, changes):
    guiding = guide if "guide" in changes else None
    sampling = SAMPLING | changes | {"cache": cache}
    exact = (each and copy.deepcopy(each).double() for each in (model, guiding))
    expected = plain_images(*exact, sampling).float()
    actual = sampled(model, guiding, **changes, cache=cache)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)
    assert 0 < guided_steps(sampling, T).sum() <= STEPS


@pytest.mark.parametrize(
    ("max_error", "longest", "expected"),
    [
        (0.0, 3, [0, 1, 2, 3, 4, 5, 6]),
        (0.15, 3, [0, 2, 4, 5, 6]),
        (0.25, 3, [0, 3, 4, 6]),
        (0.25, 1, [0, 2, 4, 6]),
        (9.0, 3, [0, 4, 6]),
    ],
)
def test_steps_are_cached_up_to_the_first_that_changes_too_much(max_error, longest, expected):
    """By hand; guidance begins at the fifth step."""
    errors = np.full((7, longest), np.nan)
    for step, row in {
        1: [0.1],
        2: [0.2, 0.2],
        3: [0.1, 0.3, 0.3],
        5: [0.2],
        6: [0.1, 0.1],
    }.items():
        errors[step, : len(row)] = row[:longest]
    own = {"name": "calibrated", "max_error": max_error, "longest": longest}
    cache = CACHES.build(own, np.zeros(7), np.ones(7, bool), steps=7)
    assert cache.options(errors) == {"name": "listed", "full_steps": expected, "of": "blocks"}


@pytest.mark.parametrize("of", ["blocks", "stack"])
@pytest.mark.parametrize("changes", [{}, INTERVAL, {"guide": "XS4-base"}])
def test_errors_are_relative_changes_of_what_blocks_give(model, guide, of, changes):
    sampling = SAMPLING | changes | {"cache": CALIBRATED | {"of": of}}
    sampler = LatentSampler(model, sampling, T, CPU, guide if "guide" in changes else None)
    found = block_errors(sampler, model.num_classes, 3)
    labels = labels_for(NUM_IMAGES, model.num_classes, "random", sampling["seed"])
    given = [kept for _, kept in sampler.steps(np.arange(NUM_IMAGES), labels, "calibration")]
    is_guided = guided_steps(sampling, T)[::-1]
    for step, back in np.ndindex(STEPS, 3):
        before = step - 1 - back
        if before < 0 or is_guided[step] != is_guided[before]:
            assert np.isnan(found[step, back])
            continue
        means = []
        for of_model, earlier in zip(given[step], given[before], strict=True):
            pairs = [(x.double(), y.double()) for x, y in zip(of_model, earlier, strict=True)]
            errors = [float((x - y).abs().mean() / x.abs().mean()) for x, y in pairs]
            means += [np.mean(errors[first::2]) for first in (0, 1) if errors[first::2]]
        assert found[step, back] == pytest.approx(max(means), rel=1e-5)
    assert np.isfinite(found).sum() > STEPS


def test_a_calibrated_cache_samples_as_the_list_that_its_file_has(model, tmp_path):
    structure, paths = tiny(PHOTOS.structure("S2-base")), []
    checkpoint, written = tmp_path / "checkpoint.safetensors", tmp_path / "cache.json"
    save_variant(checkpoint, model, structure, [], {"seed": 0})
    own = SAMPLING | {"cache": CALIBRATED | {"max_error": 0.4}, "compile": "off"}
    calibrate_cache(checkpoint, written, "own", own, T, {})
    file = read_json(written)
    assert len(file["errors"]) == STEPS and file["errors"][0] == [None] * 3
    listed = file["cache"]["full_steps"]
    assert 2 <= len(listed) < STEPS and listed[0] == 0 and listed[-1] == STEPS - 1
    for cache in (written, None):
        paths.append(tmp_path / f"{cache is None}.json")
        sampling = own if cache else own | {"cache": file["cache"]}
        count_cost(paths[-1], "own", structure, [], sampling, T, None, {}, cache)
    counts = [
        {key: value for key, value in read_json(path).items() if key != "origin"} for path in paths
    ]
    assert counts[0] == counts[1] and counts[0]["passes_per_image"] == 2 * len(listed)
    assert list(read_json(paths[0])["origin"]["inputs"]) == ["cache.json"]


def test_the_longer_it_is_reused_the_more_images_change(model):
    exact = sampled(model)
    for of in ("blocks", "stack"):
        caches = [{"name": "reuse", "every": every, "of": of} for every in (2, 4, 8)]
        changes = [(sampled(model, cache=cache) - exact).norm().item() for cache in caches]
        assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("cache", ALL)
@pytest.mark.parametrize("sampler", ["ddim", "unipc"])
def test_images_do_not_depend_on_their_batch(model, cache, sampler):
    changes = {"cache": cache, "sampler": sampler, "options": {}} | INTERVAL
    generator = LatentSampler(model, SAMPLING | changes, T, CPU)
    together = generator.latents(INDICES, LABELS)
    backwards = generator.latents(INDICES[::-1].copy(), LABELS[::-1].copy()).flip(0)
    alone = torch.cat([generator.latents(INDICES[[i]], LABELS[[i]]) for i in range(3)])
    torch.testing.assert_close(together, backwards, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("cache", "changes", "num_graphs"),
    [(REUSE, {}, 2), (LAMBDA, INTERVAL, 4), (LINE, {"guide": "XS4-base"}, 2)],
)
def test_compiled_steps_are_a_graph_for_each_kind(model, guide, cache, changes, num_graphs):
    guiding = guide if "guide" in changes else None
    options = SAMPLING | changes | {"cache": cache}
    eager, compiled = (
        LatentSampler(model, options | {"compile": choice}, T, CPU, guiding)
        for choice in ("off", "on")
    )
    torch._dynamo.utils.counters.clear()
    latents, expected = (each.latents(INDICES, LABELS) for each in (compiled, eager))
    torch.testing.assert_close(latents, expected, rtol=1e-3, atol=1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == num_graphs


@pytest.mark.parametrize("cache", ALL)
@pytest.mark.parametrize(
    "changes",
    [{}, {"guidance_scale": 1.0}, INTERVAL, {"guide": "XS4-base"}],
)
def test_passes_and_bytes_are_counted_as_they_are(model, guide, cache, changes, tmp_path):
    """By hooks on both models, and on what goes from step to step."""
    sampling = SAMPLING | changes | {"cache": cache}
    models = {"own": model, "guide": guide}
    calls, most_bytes, hooks = {}, 0, []
    for name, each in models.items():
        for place, module in (("blocks", each.blocks[0].attention), ("all", each.final_layer)):

            def add(module, inputs, output, key=(name, place)):
                calls[key] = calls.get(key, 0) + len(output)

            hooks.append(module.register_forward_hook(add))
    sampler = LatentSampler(model, sampling, T, CPU, guide if "guide" in changes else None)
    step = sampler.step

    def watched(x, k, classes, z, is_guided, kept, *carried):
        nonlocal most_bytes
        tensors = [each for of_step in kept for of_model in of_step for each in of_model]
        most_bytes = max(most_bytes, sum(each.nbytes for each in tensors))
        return step(x, k, classes, z, is_guided, kept, *carried)

    sampler.step = watched
    try:
        sampler.latents(INDICES, LABELS)
    finally:
        for hook in hooks:
            hook.remove()
    full, cached = num_passes(sampling, T)
    for name, of_full, of_cached in zip(models, full, cached, strict=True):
        assert calls.get((name, "blocks"), 0) == 3 * of_full
        assert calls.get((name, "all"), 0) == 3 * (of_full + of_cached)
    assert sum(cached) > 0

    specs = [
        {"structure": tiny(PHOTOS.structure(row)), "operations": []}
        for row in ("S2-base", "XS4-base")
    ]
    path = tmp_path / "architecture.json"
    with_guide = specs[1] if "guide" in changes else None
    count_cost(path, "new", *specs[0].values(), sampling, T, with_guide, {})
    written = read_json(path)
    assert written["cache_bytes_per_image"] == most_bytes / 3 > 0
    assert written["passes_per_image"] == sum(full)
    assert written["cached_passes_per_image"] == sum(cached)
    macs = [(count_macs(each), multiplied(each, sampling)) for each in models.values()]
    assert written["macs_per_image"] == sum(
        of_full * of_model + of_cached * of_rest
        for of_full, of_cached, (of_model, of_rest) in zip(full, cached, macs, strict=True)
    )


def multiplied(model, sampling):
    """Multiply-accumulates of a cached pass, by hooks on its layers."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.LayerNorm):
            total += 4 * output.numel()
        else:
            total += output.numel() * module.weight[0].numel()

    layers = (nn.Linear, nn.Conv2d, nn.LayerNorm)
    leaves = [each for each in model.modules() if isinstance(each, layers)]
    hooks = [each.register_forward_hook(add) for each in leaves]
    x = torch.zeros(1, model.in_channels, model.input_size, model.input_size)
    cache_of(sampling, T).cached_pass(model)(x, torch.tensor([5]), torch.tensor([0]))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cache": {"name": "reus"}}, "cache.name: 'reus' is unknown; did you mean reuse?"),
        ({"cache": {"every": 2}}, "sampling.cache.name is missing; it should be text."),
        ({"cache": "reuse"}, "sampling.cache is 'reuse'; it should be null, or a mapping"),
        ({"cache": {"name": "reuse", "every": 1}}, "every is 1; it should be a whole number >= 2"),
        ({"cache": {"name": "reuse", "along": "steps"}}, "cache.along is no option of reuse"),
        ({"cache": {"name": "reuse", "of": "block"}}, "of is 'block'; it should be blocks or sta"),
        ({"cache": {"name": "extrapolate", "along": "t"}}, "'t'; it should be steps or lambda."),
        (
            {"cache": {"name": "reuse", "every": 7}, "steps": 6},
            "variants.own.sampling.cache.every 7 is more than steps 6.",
        ),
        ({"cache": {"name": "reuse"}, "steps": 1}, "sampling.cache.every 2 is more than steps 1."),
        ({"cache": LINE, "steps": 2}, "sampling.cache.every 2 is more than steps - 1, 1."),
        (
            {"cache": LISTED, "steps": 8},
            "sampling.cache.full_steps 8 is more than steps - 1, 7.",
        ),
        ({"cache": {"name": "listed", "full_steps": 3}}, "full_steps is 3; it should be a list"),
        ({"cache": {"name": "listed", "full_steps": [-1]}}, "-1; it should be a whole number >= 0"),
        ({"cache": {"name": "calibrated"}}, "cache.max_error is missing; it should be a number"),
    ],
)
def test_a_cache_that_cannot_be_is_told(config, changes, message):
    config["variants"]["own"] = {"group": "Own", "from": "S2-base", "sampling": changes}
    (problem,) = config_problems(config)
    assert message in problem and problem.startswith("variants.own.sampling.cache")


def test_a_cache_of_all_rows_is_told_once(config):
    config["sampling"]["cache"] = {"name": "reuse", "every": 30}
    assert config_problems(config) == ["sampling.cache.every 30 is more than steps 20."]


def test_a_cache_of_every_step_is_refused():
    with pytest.raises(InputError, match="every is 1; it should be a whole number >= 2"):
        cache_of(SAMPLING | {"cache": {"name": "reuse", "every": 1}}, T)


def test_a_row_samples_with_its_cache_as_its_children_do(config):
    cache = {"name": "reuse", "every": 3}
    config["variants"] |= {
        "own": {"group": "Own", "from": "S2-base", "sampling": {"cache": cache}},
        "int8": {"group": "Own", "from": "own", "apply": [{"name": "int8_weight_only"}]},
    }
    study = Study(config)
    assert config_problems(config) == []
    assert study.timed_sampling("int8")["cache"] == study.sampling("own")["cache"] == cache
    assert study.sampling("S2-base")["cache"] is None
    assert not study.calibrates_cache("own")
    config["variants"]["own"]["sampling"] = {"cache": CALIBRATED}
    assert [row for row in study.variants if study.calibrates_cache(row)] == ["own", "int8"]
