"""Costs of the paper's study, digit by digit."""

import functools

import pytest
import torch
from subjects import IMAGENET200, PHOTOS, load_config

from count_cost import count_cost
from slimdit.diffusion.guidance import guided_steps
from slimdit.models import ops
from slimdit.models.build import compress, empty_model
from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
from slimdit.storage.files import read_json
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study

# total_params, GMACs: derived from the architecture by hand, batch 1, 200 classes.
COSTS = {
    "S2-base": (32_656_160, 6.0655),
    "S4-base": (32_637_824, 1.41504),
    "XS2-base": (7_493_664, 1.4185),
    "XS4-base": (7_481_472, 0.3212),
    "Q-S2": (32_656_160, 6.0655),
    "Q-S4": (32_637_824, 1.41504),
    "Q-XS2": (7_493_664, 1.4185),
    "Q-XS4": (7_481_472, 0.3212),
    "Q8dyn-S2": (32_656_160, 6.0655),
    "Qfp8-S2": (32_656_160, 6.0655),
    "S2-shallow": (29_110_304, 4.8575),
    "S2-med-4": (32_702_240, 5.4922),
    "S2-med-16": (32_702_240, 5.5488),
    "S2-fg-6": (29_699_360, 4.80),
    "S2-fg-3": (30_290_720, 4.96),
    "KD-XS2": (7_493_664, 1.4185),
    "MoE-S2-8E2A": (131_944_736, 9.6988),
    "MoE-S2-4E1A": (53_933_600, 6.0679),
    "MoE-XS2-8E2A": (29_579_808, 2.2269),
    "S2-prune-5": (31_474_208, 5.663),
    "S2-prune-4": (30_292_256, 5.260),
    "S2-prune-3": (29_110_304, 4.858),
    "S2-prune-2": (27_928_352, 4.455),
    "S2-full-local": (32_702_240, 6.0761),
    "S2-med-4-no-local": (32_656_160, 5.4816),
    "S2-fg-6-local": (29_719_328, 4.80),
    "S2-dense-shallow": (26_384_792, 4.9204),
    "S2-dense-fg-6": (25_042_112, 4.7116),
    "S2-dense-med-4": (29_996_192, 5.5605),
    "S2-prune-3-random": (29_110_304, 4.8575),
    "S2-prune-3-damage": (29_110_304, 4.8575),
    "S2-long-8E2A": (32_656_160, 6.0655),
    "XS2-long-8E2A": (7_493_664, 1.4185),
}
STUDIES = [PHOTOS, IMAGENET200, Study(load_config("configs/imagenette.yaml"))]
ACTIVE_MILLIONS = {"MoE-S2-8E2A": 46.87, "MoE-S2-4E1A": 32.67, "MoE-XS2-8E2A": 10.66}
INT8_MEGABYTES = {"Q-S2": 33.86, "Q-S4": 33.67, "Q-XS2": 8.10, "Q-XS4": 7.98}


def digits(number):
    return len(str(number).partition(".")[2])


def cost_model(study, variant):
    return compress(empty_model(study.structure(variant)), study.operations(variant))


@pytest.mark.parametrize("variant", IMAGENET200.variants)
def test_paper_study_costs_what_the_architecture_says(variant):
    params, gigamacs = COSTS[variant]
    model = cost_model(IMAGENET200, variant)
    assert total_params(model) == params
    decimals = 2 if variant.startswith("S2-fg") else digits(gigamacs)
    assert round(count_macs(model) / 1e9, decimals) == gigamacs
    active_millions = round(active_params(model) / 1e6, 2)
    assert active_millions == ACTIVE_MILLIONS.get(variant, round(params / 1e6, 2))


@functools.cache
def macs(study, variant):
    return count_macs(cost_model(study, variant))


def controls(study):
    """The trained rows of group Control that name another, each with that."""
    return [
        (name, study.parent(name))
        for name in study.trained
        if study.block(name)["group"] == "Control" and "compare_with" in study.block(name)
    ]


@pytest.mark.parametrize(
    ("study", "control", "row"), [(study, *pair) for study in STUDIES for pair in controls(study)]
)
def test_a_control_has_the_arithmetic_of_its_row(study, control, row):
    """With another backbone that of a pass, else that of the training."""
    ours, its = macs(study, control), macs(study, row)
    if study.block(control)["backbone"] != study.block(row)["backbone"]:
        assert ours == pytest.approx(its, rel=0.02)
    else:
        steps = [study.training(name)["steps"] for name in (control, row)]
        assert steps[0] * ours == pytest.approx(steps[1] * its, rel=0.001)


def test_every_cheaper_row_of_the_paper_has_a_control_of_its_macs():
    controlled = [macs(IMAGENET200, name) for name, _ in controls(IMAGENET200)]
    for row in IMAGENET200.trained:
        if IMAGENET200.block(row)["group"] == "Attention":
            its = macs(IMAGENET200, row)
            assert any(ours == pytest.approx(its, rel=0.02) for ours in controlled), row


@pytest.mark.parametrize("variant", INT8_MEGABYTES)
def test_int8_weights_take_the_published_bytes(variant):
    size_mb = weight_bytes(cost_model(IMAGENET200, variant)) / 1e6
    assert size_mb == pytest.approx(INT8_MEGABYTES[variant], rel=0.01)


def test_float32_weights_take_four_bytes_a_parameter():
    model = cost_model(PHOTOS, "S2-base")
    assert weight_bytes(model) == 4 * total_params(model)


def test_int8_weights_take_one_byte_and_a_scale_and_zero_point_a_row():
    base, quantized = (cost_model(PHOTOS, name) for name in ("S2-base", "Q-S2"))
    linears = [m for m in base.modules() if isinstance(m, torch.nn.Linear)]
    saved = sum(3 * m.weight.numel() - 5 * m.out_features for m in linears)
    assert weight_bytes(base) - weight_bytes(quantized) == saved


def test_counting_leaves_the_kernels_as_they_were():
    model = cost_model(PHOTOS, "XS4-base")
    with ops.plain():
        count_macs(model)
        assert ops._plain
    assert not ops._plain


def test_counted_costs_are_written_with_what_they_are_of(tmp_path):
    path, structure = tmp_path / "architecture.json", PHOTOS.structure("S2-prune-3")
    operations = PHOTOS.operations("S2-prune-3")
    sampling = PHOTOS.sampling("S2-prune-3")
    count_cost(path, "S2-prune-3", structure, operations, sampling, 1000, None, {})
    written, model = read_json(path), cost_model(PHOTOS, "S2-prune-3")
    assert written["spec"] == {"structure": structure, "operations": operations}
    assert written["total_params"] == written["active_params"] == total_params(model)
    assert (written["macs"], written["weight_bytes"]) == (count_macs(model), weight_bytes(model))
    assert written["passes_per_image"] == 40  # 20 steps, with guidance
    assert written["macs_per_image"] == 40 * written["macs"]


def test_the_cost_of_an_image_counts_a_guide_by_its_own(tmp_path):
    path, structure = tmp_path / "architecture.json", PHOTOS.structure("S2-base")
    guide = {"structure": PHOTOS.structure("XS2-base"), "operations": []}
    sampling = PHOTOS.sampling("S2-base") | {"guide": "XS2-base", "guidance_interval": [1.0, 8.0]}
    count_cost(path, "new", structure, [], sampling, 1000, guide, {})
    written, guided = read_json(path), int(guided_steps(sampling, 1000).sum())
    own, its = (macs(PHOTOS, name) for name in ("S2-base", "XS2-base"))
    assert 0 < guided < 20 and written["passes_per_image"] == 20 + guided
    assert written["macs_per_image"] == 20 * own + guided * its


def test_a_cached_pass_is_what_surrounds_the_blocks(tmp_path):
    """Of the paper's S/2: the patches, the timestep, the modulations, and the last layer."""
    path, structure = tmp_path / "architecture.json", IMAGENET200.structure("S2-base")
    sampling = IMAGENET200.sampling("S2-base") | {"cache": {"name": "reuse"}}
    count_cost(path, "new", structure, [], sampling, 1000, None, {})
    written, size, tokens = read_json(path), 384, 256
    rest = 16 * size * tokens + (256 + size) * size + size * (6 * 12 + 2) * size
    rest += (4 + 32) * size * tokens
    assert written["passes_per_image"] == written["cached_passes_per_image"] == 250
    assert written["macs_per_image"] == 250 * (written["macs"] + rest)
    assert written["cache_bytes_per_image"] == 2 * 4 * (2 * 12) * tokens * size


BEYOND = Study(load_config("configs/photos-beyond.yaml"))
EXPERTS = Study(load_config("configs/photos-experts.yaml"))
PASSES = {"DDIM-50": 100, "DPM-15": 30, "UniPC-15": 30, "optimised-10": 20, "scale-4_0": 500}


# One of each family.
SAMPLED = {BEYOND.block(row).get("family", row): row for row in BEYOND.variants}


@pytest.mark.parametrize("row", SAMPLED.values())
def test_ways_of_sampling_count_at_the_papers_backbones(row, tmp_path):
    """Passes times MACs; a guide's passes by its own, and cached ones by what surrounds blocks."""
    study = Study(IMAGENET200.config | {"variants": IMAGENET200.variants | BEYOND.variants})
    sampling, path = study.timed_sampling(row), tmp_path / "architecture.json"
    spec = study.structure(row), study.operations(row), sampling
    count_cost(path, row, *spec, study.num_timesteps(row), study.guide_spec(row), {})
    written = read_json(path)
    full, cached = written["passes_per_image"], written["cached_passes_per_image"]
    assert full == PASSES.get(row, full)
    is_less = bool(study.guide(row) or cached)
    assert (written["macs_per_image"] < (full + cached) * written["macs"]) == is_less
    assert is_less or written["macs_per_image"] == full * written["macs"]


def test_mixtures_are_compared_at_the_same_arithmetic():
    """But for the base that is trained on, whatever their experts begin with."""
    rows = [row for row in EXPERTS.trained if EXPERTS.block(row)["group"] != "Base"]
    assert len(rows) == 8
    for row in rows:
        same = "S2-base" if row == "S2-further" else "S2-wide"
        assert macs(EXPERTS, row) == pytest.approx(macs(EXPERTS, same), rel=0.01), row


def test_ways_of_sampling_fit_the_papers_study():
    rows = {"variants": IMAGENET200.variants | EXPERTS.variants}
    assert config_problems(IMAGENET200.config | rows) == []
