"""Configs resolved into variants; wrong ones in one sentence that names the key."""

import re

import pytest
from subjects import IMAGENET200, PHOTOS

from slimdit.core.errors import InputError
from slimdit.study.config_check import config_problems
from slimdit.study.jobs import jobs_of
from slimdit.study.load import configured_study, read_configs
from slimdit.study.rows import with_rows
from slimdit.study.study import Study


def with_variant(config, block, name="new"):
    config["variants"][name] = {"group": "New", **block}
    return config


PRUNED = {"name": "prune_heads", "keep_heads": 3}
MEASURED = PRUNED | {"criterion": "least_damage"}
TWO_BLOCKS = {"name": "prune_blocks", "keep_blocks": 2}
BASE = {"backbone": "S", "patch_size": 2}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            BASE | {"backbone": "XL"},
            r"variants\.new\.backbone: 'XL' is unknown; known: S, S-dense",
        ),
        ({"backbone": "S"}, r"variants\.new\.patch_size is missing"),
        ({"patch_size": 2}, r"variants\.new\.backbone is missing"),
        (
            BASE | {"sampling": {"num_samples": 9}},
            r"variants\.new\.sampling\.num_samples is 9; it should be left out, as rows are",
        ),
        (
            BASE | {"patch_size": 5},
            r"variants\.new\.patch_size 5 does not divide data\.image_size // auto",
        ),
        (
            BASE | {"attention": {"name": "focused", "group_size": 5}},
            r"variants\.new\.attention\.group_size 5 does not divide num_heads",
        ),
        (
            BASE | {"mlp": {"name": "moe", "num_experts": 4, "top_k": 5}},
            r"variants\.new\.mlp\.top_k 5 is more than num_experts 4",
        ),
        (
            BASE | {"distill": {"teacher": "S2-bas", "alpha": 0.3}},
            r"variants\.new\.distill\.teacher: 'S2-bas' is unknown; did you mean S2-base\?",
        ),
        (
            BASE | {"distill": {"teacher": "new", "alpha": 0.3}},
            r"closes a cycle \(new -> new\)",
        ),
        (
            BASE | {"apply": [{"name": "int8_weight_only"}]},
            r"it should be left out without from, the variant that it is done to",
        ),
        (
            BASE | {"compare_with": "S2-bas"},
            r"variants\.new\.compare_with: 'S2-bas' is unknown; did you mean S2-base\?",
        ),
        (
            BASE | {"compare_with": "new"},
            r"variants\.new\.compare_with closes a cycle \(new -> new\); name another\.",
        ),
        ({"from": "S2-base"}, r"variants\.new is S2-base unchanged; it should have apply"),
        ({"from": "S2-base", "sampling": {"steps": 0}}, r"variants\.new\.sampling\.steps is 0"),
        ({"from": "S2-base", "apply": []}, r"variants\.new\.apply is \[\]; it should be a list"),
        ({"from": "S9", "apply": [{}]}, r"variants\.new\.from: 'S9' is unknown"),
        ({"from": "new", "apply": [{}]}, r"variants\.new\.from closes a cycle \(new -> new\)"),
        (
            {"from": "S2-base", "training": {"learning_rate": 0.1}},
            r"variants\.new\.training has no steps; it should say how many follow those of S2-base",
        ),
        (
            {"from": "S2-base", "training": {"steps": 1, "num_timesteps": 50}},
            r"variants\.new\.training\.num_timesteps is 50, and S2-base has 1000; leave it out",
        ),
        (
            {"from": "Q-S2", "training": {"steps": 1}},
            r"variants\.new\.training: what int8_weight_only made is not trained; it should follow",
        ),
        (
            {"from": "S2-base", "apply": [PRUNED | {"mode": "masked"}], "training": {"steps": 1}},
            r"variants\.new\.training: what prune_heads made is not trained with mode masked",
        ),
        (
            {"from": "S2-base", "apply": [MEASURED], "training": {"steps": 1}},
            r"variants\.new\.apply measures the loss on latents, .* make that a row of its own",
        ),
        (
            {"from": "S2-base", "apply": [PRUNED], "distill": {"teacher": "S2-base", "alpha": 1}},
            r"variants\.new\.distill is of a training; variants\.new should have training",
        ),
        (
            BASE
            | {"backbone": "XS", "distill": {"teacher": "S2-base", "alpha": 1, "features": 0.1}},
            r"variants\.new\.distill\.features are .* hidden_size is 80, of S2-base 96; leave it",
        ),
        (
            {
                "from": "S2-base",
                "training": {"steps": 1},
                "distill": {"teacher": "new", "alpha": 0.5},
            },
            r"variants\.new\.distill\.teacher closes a cycle \(new -> new\); name another",
        ),
        (
            {"from": "S2-base", "apply": [{"name": "prune_blocks", "keep_blocks": 5}]},
            r"variants\.new\.apply\[0\]\.keep_blocks 5 is more than depth 4",
        ),
        (
            {
                "from": "S2-base",
                "apply": [TWO_BLOCKS | {"blocks": [1, 1]}],
            },
            r"variants\.new\.apply\[0\]\.keep_blocks 2 is none of \[len\(\{\*blocks\}\)\], \[1\]",
        ),
        (
            {
                "from": "S2-base",
                "apply": [TWO_BLOCKS | {"blocks": [0, 4]}],
            },
            r"variants\.new\.apply\[0\]\.blocks 4 is more than depth - 1, 3",
        ),
    ],
)
def test_a_bad_variant_is_told(config, block, message):
    assert re.search(message, "\n".join(config_problems(with_variant(config, block))))


def test_cycle_through_several_variants_is_told(config):
    with_variant(config, {"from": "b", "apply": [{"name": "int8_weight_only"}]}, "a")
    with_variant(config, {"from": "a", "apply": [{"name": "int8_weight_only"}]}, "b")
    with_variant(config, {"from": "b", "apply": [{"name": "int8_weight_only"}]}, "after-both")
    assert config_problems(config) == [
        "variants.a.from closes a cycle (a -> b -> a); name another.",
        "variants.b.from closes a cycle (b -> a -> b); name another.",
    ]


def test_teachers_that_teach_each_other_are_told(config):
    with_variant(config, BASE | {"distill": {"teacher": "b", "alpha": 0.1}}, "a")
    with_variant(config, BASE | {"distill": {"teacher": "a", "alpha": 0.1}}, "b")
    assert config_problems(config) == [
        "variants.a.distill.teacher closes a cycle (a -> b -> a); name another.",
        "variants.b.distill.teacher closes a cycle (b -> a -> b); name another.",
    ]


def test_rows_that_are_compared_with_each_other_are_told(config):
    """Also where one of them names no other, but is compared with its plain twin."""
    config["variants"]["S2-base"]["compare_with"] = "S2-med-4"
    with_variant(config, BASE | {"compare_with": "b"}, "a")
    with_variant(config, BASE | {"compare_with": "a"}, "b")
    assert config_problems(config) == [
        "variants.S2-base.compare_with closes a cycle (S2-base -> S2-med-4 -> S2-base); "
        "name another.",
        "variants.a.compare_with closes a cycle (a -> b -> a); name another.",
        "variants.b.compare_with closes a cycle (b -> a -> b); name another.",
    ]


def test_heads_that_do_not_divide_the_width_are_told_once(config):
    config["backbones"]["S"] = {"depth": 1, "hidden_size": 96, "num_heads": 5}
    assert config_problems(config) == [
        "backbones.S.hidden_size 96 is not a multiple of num_heads 5."
    ]


def test_all_problems_are_told(config):
    with_variant(config, BASE | {"patch_size": 5}, "a")
    with_variant(config, BASE | {"backbone": "XL", "mlp": {"name": "mo"}}, "b")
    assert [problem.split()[0] for problem in config_problems(config)] == [
        "variants.b.backbone:",
        "variants.b.mlp.name:",
        "variants.a.patch_size",
    ]


@pytest.mark.parametrize("study", [PHOTOS, IMAGENET200], ids=lambda study: study.name)
def test_every_variant_is_a_row_once_and_groups_stay_together(study):
    rows = study.rows()
    assert sorted(row["variant"] for row in rows) == sorted(study.variants)
    groups = [row["group"] for row in rows]
    starts = [g for i, g in enumerate(groups) if i == 0 or groups[i - 1] != g]
    assert len(starts) == len(set(groups))
    assert groups[0] == "Base"


def test_rows_that_others_are_measured_against_come_first(config):
    """Though Snakemake puts an overlay's variants before those of config.yaml."""
    own = {"fast": {"group": "Own", "from": "S2-base", "sampling": {"steps": 5}}}
    config["variants"] = own | config["variants"]
    order = [row["variant"] for row in Study(config).rows()]
    assert order[0] == "S2-base" and order.index("XS4-base") < order.index("fast")


def test_rows_of_a_late_variant_join_their_group(config):
    config["variants"]["late"] = {"group": "Base", "backbone": "S", "patch_size": 1}
    names = [row["variant"] for row in Study(config).rows()]
    assert names.index("late") == 4


@pytest.mark.parametrize(
    ("variant", "parent"),
    [
        ("S2-base", None),
        ("XS4-base", None),
        ("Q-XS4", "XS4-base"),
        ("S2-med-4", "S2-base"),
        ("KD-XS2", "XS2-base"),
        ("MoE-XS2-8E2A", "XS2-base"),
        ("S2-prune-3", "S2-base"),
        ("S2-full-local", "S2-base"),
        ("S2-dense-shallow", "S2-shallow"),
        ("S2-prune-3-random", "S2-prune-3"),
    ],
)
def test_row_is_measured_against_what_it_names_or_its_plain_twin(variant, parent):
    assert PHOTOS.parent(variant) == parent


def test_a_row_is_derived_from_what_it_is_made_from_whatever_it_is_compared_with(config):
    quantized = {"from": "XS2-base", "apply": [{"name": "int8_weight_only"}]}
    with_variant(config, quantized | {"compare_with": "S2-base"})
    rows = {row["variant"]: row for row in Study(config).rows()}
    expected = {
        "new": ("S2-base", "XS2-base"),
        "Q-XS2": ("XS2-base", "XS2-base"),
        "S2-prune-3-random": ("S2-prune-3", "S2-base"),
        "S2-dense-shallow": ("S2-shallow", None),
    }
    for variant, pair in expected.items():
        assert (rows[variant]["parent"], rows[variant]["derived_from"]) == pair


def test_only_the_damage_of_heads_is_measured_on_latents():
    assert [name for name in PHOTOS.variants if PHOTOS.calibrates(name)] == ["S2-prune-3-damage"]


def test_variant_without_a_plain_twin_has_no_parent(config):
    config["variants"]["S1-shallow"] = {
        "group": "Attention",
        "backbone": "S",
        "patch_size": 1,
        "attention": {"name": "shallow"},
    }
    assert Study(config).parent("S1-shallow") is None


def test_trained_and_derived_variants_are_all_variants():
    assert set(PHOTOS.trained) | set(PHOTOS.compressed) == set(PHOTOS.variants)
    assert not set(PHOTOS.trained) & set(PHOTOS.compressed)
    assert PHOTOS.compressed == [v for v in PHOTOS.variants if v.startswith("Q") or "prune" in v]


def test_operations_add_up_along_the_chain(config):
    chained = {"from": "S2-prune-3", "apply": [{"name": "int8_weight_only"}]}
    study = Study(with_variant(config, chained))
    assert [o["name"] for o in study.operations("new")] == ["prune_heads", "int8_weight_only"]
    assert (study.trained_ancestor("new"), study.parent("new")) == ("S2-base", "S2-prune-3")
    assert study.structure("new") == study.structure("S2-base")


def test_a_row_may_only_sample_otherwise(config):
    """It has the weights, and what is measured of them, of the row that it names; what comes from
    it samples as it does."""
    config["variants"] |= {
        "fewer": {"group": "Sampling", "from": "Q-S2", "sampling": {"steps": 10}},
        "fewer-ddpm": {"group": "Sampling", "from": "fewer", "sampling": {"sampler": "ddpm"}},
        "pruned": {
            "group": "Sampling",
            "from": "fewer-ddpm",
            "compare_with": "S2-base",
            "apply": [{"name": "prune_heads", "keep_heads": 3}],
        },
    }
    config["variants"]["fewer"]["from"] = "S2-base"
    assert not config_problems(config)
    study = Study(config)
    assert [study.weights_row(name) for name in ("fewer-ddpm", "pruned")] == ["S2-base", "pruned"]
    assert not {"fewer", "fewer-ddpm"} & {*study.trained, *study.compressed, *study.with_weights}
    assert study.sampling("pruned") == config["sampling"] | {"steps": 10, "sampler": "ddpm"}
    assert study.operations("fewer-ddpm") == [] and study.parent("fewer-ddpm") == "fewer"
    assert study.speed("fewer")["eager_batch_sizes"] == []
    assert study.speed("pruned") == config["speed"]
    jobs = {(job.step, job.variant) for job in jobs_of(study)}
    assert {("sample", "fewer"), ("evaluate", "fewer"), ("measure_speed", "fewer")} <= jobs
    assert not {(step, "fewer") for step in ("train", "compress", "held_out_loss")} & jobs


def test_an_overlay_drops_rows(tmp_path):
    path = tmp_path / "fewer.yaml"
    path.write_text("study: photos\nvariants: {S2-prune-2: null}\n")
    kept = configured_study([path]).variants
    assert kept == {name: each for name, each in PHOTOS.variants.items() if name != "S2-prune-2"}
    path.write_text("study: photos\nvariants: {S2-prune: null}\n")
    with pytest.raises(
        InputError, match=r"fewer.yaml: variants.S2-prune: null drops a row, but no"
    ):
        configured_study([path])


def test_snakemake_names_the_base_last(tmp_path):
    path = tmp_path / "fewer.yaml"
    path.write_text("study: photos\nvariants: {S2-prune-2: null}\n")
    assert len(read_configs([path, "config.yaml"])) == 2


def swept(config, sweep, **block):
    config["variants"] |= {"own": {"group": "Own", "from": "S2-base", "sweep": sweep, **block}}
    return with_rows(config)


def test_a_sweep_is_a_row_for_each_value(config):
    steps = swept(config, {"sampling.steps": [5, 10]}, sampling={"guidance_scale": 1.0})
    assert not config_problems(steps)
    rows = {row["variant"]: row for row in Study(steps).rows()}
    assert "own" not in rows
    for count in (5, 10):
        row = f"own-{count}"
        assert (rows[row]["family"], rows[row]["weights"]) == ("own", "S2-base")
        sampling = Study(steps).sampling(row)
        assert (sampling["steps"], sampling["guidance_scale"]) == (count, 1.0)
    assert rows["S2-base"]["family"] is None


def test_a_sweep_reaches_into_a_list_and_names_rows_without_points(config):
    pruned = {"apply": [{"name": "prune_heads", "keep_heads": 5}]}
    variants = swept(config, {"apply.0.keep_heads": [2, 3]}, **pruned)["variants"]
    assert [variants[f"own-{n}"]["apply"][0]["keep_heads"] for n in (2, 3)] == [2, 3]
    assert {"own-1_5", "own-2"} < swept(config, {"sampling.guidance_scale": [1.5, 2]})[
        "variants"
    ].keys()


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({}, "it should be one option and a list of its values"),
        ({"sampling.steps": [1], "sampling.seed": [1]}, "it should be one option and a list"),
        ({"sampling.steps": 3}, "it should be one option and a list of its values"),
        ([1], "it should be one option and a list of its values"),
        ({"group.steps": [1]}, "the row has no place for group.steps"),
        ({"sampling.steps": [5, 5]}, "makes a row own-5, which there is already"),
    ],
)
def test_a_bad_sweep_is_told(config, sweep, message):
    with pytest.raises(InputError, match=rf"variants\.own\.sweep.*{re.escape(message)}"):
        swept(config, sweep)


def test_a_wrong_option_of_a_sweep_is_told_of_its_rows(config):
    (problem,) = config_problems(swept(config, {"sampling.stps": [5]}))
    assert problem.startswith("variants.own-5.sampling.stps is no key")


def test_derived_variant_may_come_from_a_distilled_one(config):
    study = Study(with_variant(config, {"from": "KD-XS2", "apply": [{"name": "int8_weight_only"}]}))
    assert study.trained_ancestor("new") == "KD-XS2"
    assert (study.teacher("KD-XS2"), study.teacher("new")) == ("S2-base", None)


def test_a_derived_row_may_be_trained_on(config):
    """It has another training than its parent: they are told apart by their seeds alone."""
    with_variant(config, {"from": "S2-base", "apply": [PRUNED]}, "pruned")
    of_both = {"teacher": "S2-base", "alpha": 0.5}
    recovery = {"training": {"steps": 7, "learning_rate": 1e-4}, "distill": of_both}
    with_variant(config, {"from": "pruned", **recovery}, "recovered")
    with_variant(config, {"from": "recovered", "apply": [{"name": "int8_weight_only"}]}, "small")
    assert not config_problems(config)
    study = Study(config)
    assert "recovered" in study.trained and not {"recovered", "pruned"} <= {*study.trained}
    assert study.training("recovered") == config["training"] | recovery["training"]
    assert study.operations("recovered") == [PRUNED]
    assert study.trained_ancestor("small") == "recovered" and study.root("small") == "S2-base"
    assert study.structure("small") == study.structure("S2-base")
    assert study.weights_row("recovered") == "recovered" and study.parent("recovered") == "pruned"
    rows = {row["variant"]: (row["derived_from"], row["trained_from"]) for row in study.rows()}
    assert rows["recovered"] == (None, "pruned") and rows["small"] == ("recovered", None)
    jobs = {(job.step, job.variant) for job in jobs_of(study)}
    assert ("train", "recovered") in jobs and ("compress", "recovered") not in jobs


def test_a_block_overrides_the_studys_training_and_sampling(config):
    block = BASE | {"training": {"learning_rate": 5e-5}, "sampling": {"steps": 7}}
    study = Study(with_variant(config, block))
    assert study.training("new") == config["training"] | {"learning_rate": 5e-5}
    assert study.sampling("new") == config["sampling"] | {"steps": 7}
    assert study.training("S2-base") == config["training"]


def test_structure_is_all_a_model_needs():
    assert IMAGENET200.structure("S4-base") == {
        "depth": 12,
        "hidden_size": 384,
        "num_heads": 6,
        "patch_size": 4,
        "attention": {"name": "full"},
        "mlp": {"name": "dense"},
        "num_classes": 200,
        "in_channels": 4,
        "input_size": 32,
    }


@pytest.mark.parametrize(
    ("variant", "components"),
    [
        ("S2-base", {"attention": {"full"}, "mlp": {"dense"}, "compression": set()}),
        ("S2-med-4", {"attention": {"mediated"}, "mlp": {"dense"}, "compression": set()}),
        ("MoE-S2-8E2A", {"attention": {"full"}, "mlp": {"moe"}, "compression": set()}),
        ("MoE-S2-4E1A", {"attention": {"full"}, "mlp": {"moe", "dense"}, "compression": set()}),
        ("Q-S2", {"attention": {"full"}, "mlp": {"dense"}, "compression": {"int8_weight_only"}}),
    ],
)
def test_components_are_those_that_a_model_is_built_from(variant, components):
    assert PHOTOS.components(variant) == components


def test_overlay_keeps_the_variants_and_changes_the_scale():
    assert PHOTOS.variants.items() <= IMAGENET200.variants.items()
    assert IMAGENET200.name == "imagenet200"
    assert IMAGENET200.config["data"]["num_classes"] == 200
    assert IMAGENET200.config["data"]["reference_per_class"] == 50
