"""Bad configs: all that is wrong is said at the start, in one sentence each that names the key."""

import contextlib
import copy
import inspect
import re
import subprocess
import sys
from datetime import date
from random import Random

import pytest
import yaml
from subjects import ROOT, load_config, merged

from slimdit.core.options import options_schema, type_schema
from slimdit.study.component_options import REGISTRIES, UNKNOWN, components, default_of
from slimdit.study.config_check import config_problems

CONFIG = load_config()
SHIPPED = {
    "config": load_config(),
    "tiny": load_config("tests/tiny.yaml"),
    **{path.stem: load_config(path) for path in sorted((ROOT / "configs").glob("*.yaml"))},
}
BASE = {"group": "Own", "backbone": "S", "patch_size": 2}
JUNK = (None, "x", -1, [], {}, 1.5, True)
MORE_JUNK = (*JUNK, 0, 64, 10**30, "1e5", "a\nb", "S2-base", float("nan"), [[]], [{}], {"name": []})
MORE_JUNK += (date(2020, 1, 1), {3: 4}, {None: 0}, {"a\n": {}})


def new(**block):
    return {"variants": {"new": BASE | block}}


def derived(*operations, parent="S2-base", **block):
    block = {"group": "Own", "from": parent, "apply": list(operations), **block}
    return {"variants": {"new": block}}


def pruned(**options):
    return {"name": "prune_heads", **options}


def narrowed(keep_channels):
    return {"name": "prune_mlp", "keep_channels": keep_channels}


INT8 = {"name": "int8_weight_only"}

KEYS_AND_VALUES = [
    ({"trainig": {}}, "trainig is no key; did you mean training?"),
    ({"qqq": {}}, "qqq is no key; known: autoencoder, backbones, data, deterministic,"),
    ({"training": {"learning_rat": 1}}, "training.learning_rat is no key; did you mean learning_"),
    ({"training": {"learning_rate": "1e-4"}}, "is '1e-4', text to YAML; write 0.0001."),
    ({"training": {"steps": "1e5"}}, "training.steps is '1e5', text to YAML; write 100000."),
    ({"training": {"steps": "1e-2"}}, "training.steps is '1e-2'; it should be a whole number >= 1"),
    ({"training": {"steps": 0}}, "training.steps is 0; it should be a whole number >= 1."),
    ({"training": {"steps": 2.0}}, "training.steps is 2.0; it should be a whole number >= 1."),
    ({"training": {"steps": True}}, "training.steps is true; it should be a whole number >= 1."),
    ({"training": {"learning_rate": True}}, "learning_rate is true; it should be a number > 0."),
    ({"training": {"learning_rate": float("nan")}}, "learning_rate is nan; it should be a number"),
    ({"training": {"weight_decay": float("inf")}}, "weight_decay is inf; it should be a number"),
    ({"training": {"ema_decay": 1.5}}, "ema_decay is 1.5; it should be a number >= 0 and <= 1."),
    ({"training": {"adam_betas": [0.9]}}, "adam_betas is [0.9]; it should be a list of 2, each a"),
    ({"training": {"adam_betas": [0.9, 1]}}, "training.adam_betas[1] is 1; it should be a number"),
    ({"training": {"compile": True}}, "training.compile is true to YAML; write 'on' in quotes."),
    ({"training": {"precision": "fp16"}}, "is 'fp16'; it should be auto, float32 or bfloat16."),
    ({"training": {"num_timesteps": 20}}, "num_timesteps is 20; it should be a whole number >= 21"),
    ({"training": None}, "training is null; it should be a mapping."),
    ({"data": None}, "data is null; it should be a mapping."),
    ({"data": {"photos": []}}, "data.photos is []; it should be null or a mapping."),
    ({"data": {"photos": {"crop_size": "48"}}}, "crop_size is '48', text to YAML; write 48."),
    ({"data": {"photos": {"min_sid": 3}}}, "data.photos.min_sid is no key; did you mean min_side?"),
    ({"data": {"classes": ["a/b", "c"]}}, "data.classes[0] is 'a/b'; it should be the name of a"),
    ({"data": {"num_classes": 1}}, "data.num_classes is 1; it should be a whole number >= 2."),
    ({"sampling": {"labels": "sorted"}}, "labels is 'sorted'; it should be balanced or random."),
    ({"sampling": {"steps": 0}}, "sampling.steps is 0; it should be a whole number >= 1."),
    (
        {"sampling": {"timesteps": "leading"}},
        "sampling.timesteps is 'leading'; it should be linspace, trailing, uniform_lambda or",
    ),
    ({"sampling": {"guided_channels": "some"}}, "it should be all or a whole number >= 0."),
    ({"inception_graph_url": "ftp://x"}, "it should be null or an address that starts with https"),
    ({"seeds": [0, 0]}, "seeds is [0, 0]; it should be a list of at least 1, all different, each"),
    ({"seeds": []}, "seeds is []; it should be a list of at least 1"),
    ({"seeds": 0}, "seeds is 0; it should be a list of at least 1"),
    ({"study": "a/b"}, "study is 'a/b'; it should be letters, digits, - and _"),
    ({"study": "photos\n"}, r"study is 'photos\n'; it should be letters, digits, - and _"),
    ({"backbones": {"S": {"depth": 0}}}, "backbones.S.depth is 0; it should be a whole number"),
    ({"variants": 3}, "variants is 3; it should be a mapping that is not empty."),
    ({"variants": {"S2/x": BASE}}, "variants has the key 'S2/x'; it should be letters, digits"),
    ({"variants": {3: BASE}}, "first a letter or digit: write it in quotes."),
    ({"variants": {False: BASE}}, "variants has the key false; it should be letters, digits"),
    ({"backbones": {True: {"depth": 1}}}, "has the key true; it should be text: write it in quo"),
    ({"data": {"classes": [False, "b"]}}, "classes[0] is false to YAML; it should be the name of"),
    ({"data": {"classes": [7, "b"]}}, "7 to YAML; it should be the name of a folder: write it in"),
    ({"data": {"classes": [None, "b"]}}, "is null to YAML; it should be the name of a folder: wr"),
    ({"data": {"images": 2024}}, "a path or name without braces: write it in quotes."),
    ({"sampling": {"prompts": [True]}}, "sampling.prompts[0] is true to YAML; it should be text:"),
    ({"sampling": {"prompts": [0x1F]}}, "prompts[0] is 31 to YAML; it should be text: write it i"),
    ({"sampling": {"prompts": [1e3]}}, "prompts[0] is 1000.0 to YAML; it should be text: write"),
    ({"study": date(2024, 1, 5)}, "study is 2024-01-05 to YAML; it should be letters, digits"),
    (
        {"study": None},
        "study is null; it should be letters, digits, - and _, the first a letter or ",
    ),
    (
        new(group=1.5),
        "new.group is 1.5 to YAML; it should be text, the heading of its row: write it",
    ),
    ({"training": {"precision": 16}}, "is 16; it should be auto, float32 or bfloat16."),
    ({"variants": {"new": None}}, "variants.new is null; it should be a mapping."),
    ({"variants": {"new": {}}}, "variants.new.group is missing; it should be text, the heading"),
    (new(atention={}), "variants.new.atention is no key; did you mean attention?"),
    (new(training={"learning_rat": 1.0}), "variants.new.training.learning_rat is no key; did you"),
    (new(sampling={"step": 4}), "variants.new.sampling.step is no key; did you mean steps?"),
    (new(distill={"teacher": "S2-base"}), "variants.new.distill.alpha is missing; it should be a"),
    ({"extractors": {"clip": {}}}, "extractors.clip is no key; known: efficientnet-lite0, incep"),
    (
        {"extractors": {"efficientnet-lite0": {"size": 1}}},
        "size is no option of efficientnet-lite0",
    ),
    ({"extractors": {"inception-2015": {"backend": "jax"}}}, "it should be tensorflow or torch."),
    ({"extractors": {"inception-2015": {"graph": None}}}, "graph is null; it should be text."),
]

COMPONENTS = [
    (new(attention={"name": "ful"}), "attention.name: 'ful' is unknown; did you mean full?"),
    (
        new(attention={"name": "full", "rank": 3}),
        "attention.rank is no option of full; known: head",
    ),
    (new(attention={"name": "full", "hidden_size": 3}), "hidden_size is no option of full"),
    (new(attention={"name": "shallow", "head_dim": 3}), "no option of shallow; there are none."),
    (
        new(attention={"name": "full", "head_size": 3}),
        "attention.head_size is now called head_dim.",
    ),
    (new(attention={"name": "full", "head_dim": 0}), "it should be a whole number >= 1 or null."),
    (
        new(attention={"name": "mediated"}),
        "attention.num_mediators is missing; it should be a whol",
    ),
    (
        new(attention={"name": "mediated", "num_mediators": "4"}),
        "variants.new.attention.num_mediators is '4', text to YAML; write 4.",
    ),
    (new(mlp={"name": "mo"}), "variants.new.mlp.name: 'mo' is unknown; did you mean moe?"),
    (new(mlp={"name": "moe", "num_experts": 4}), "variants.new.mlp.top_k is missing; it should be"),
    (new(mlp={"name": "dense", "evry": 2}), "mlp.evry is no option of dense; did you mean every?"),
    (new(mlp={"name": "dense", "every": 0}), "mlp.every is 0; it should be a whole number >= 1."),
    (new(mlp={"name": "dense", "mlp_ratio": 0}), "mlp.mlp_ratio is 0; it should be a whole number"),
    (
        derived({"name": "prune_head"}),
        "apply[0].name: 'prune_head' is unknown; did you mean prune_",
    ),
    (
        derived(INT8 | {"bits": 4}),
        "apply[0].bits is no option of int8_weight_only; known: float_layers, keep_float.",
    ),
    (
        derived(pruned()),
        "variants.new.apply[0].keep_heads is missing; it should be a whole number >= 1.",
    ),
    (
        derived(pruned(keep_heads=3, mode="structurl")),
        "variants.new.apply[0].mode is 'structurl'; it should be structural or masked.",
    ),
    ({"sampling": {"sampler": "ddi"}}, "sampling.sampler: 'ddi' is unknown; did you mean ddim?"),
    (
        {"sampling": {"options": {"eta": 2}}},
        "sampling.options.eta is 2; it should be a number >= 0",
    ),
    ({"sampling": {"options": {"etta": 1}}}, "sampling.options.etta is no option of ddim; did you"),
    (
        {"sampling": {"sampler": "unipc", "options": {"eta": 1}}},
        "sampling.options.eta is no option of unipc; there are none.",
    ),
    (
        merged({"sampling": {"options": {"eta": 1.0}}}, new(sampling={"sampler": "ddpm"})),
        "variants.new.sampling.options.eta is no option of ddpm; there are none.",
    ),
    ({"evaluation": {"extractor": "inception"}}, "extractor: 'inception' is unknown; did you mean"),
]

VARIANTS = [
    (
        new(patch_size=5),
        "variants.new.patch_size 5 does not divide data.image_size // autoencoder.",
    ),
    (
        new(attention={"name": "focused", "group_size": 5}),
        "variants.new.attention.group_size 5 does not divide num_heads 6.",
    ),
    (new(attention={"name": "focused", "group_size": 0}), "group_size 0 does not divide num_heads"),
    (new(attention={"name": "mediated", "num_mediators": 5}), "num_mediators 5 is not a square"),
    (
        new(attention={"name": "mediated", "num_mediators": 81}),
        "variants.new.attention.num_mediators 81 is more than num_tokens 64.",
    ),
    (
        {
            "backbones": {"odd": {"depth": 1, "hidden_size": 60, "num_heads": 12}},
            **new(backbone="odd", attention={"name": "shallow"}),
        },
        "variants.new.attention is shallow: hidden_size 60 is not a multiple of 2 * num_heads, 24.",
    ),
    (
        new(mlp={"name": "moe", "num_experts": 4, "top_k": 5}),
        "variants.new.mlp.top_k 5 is more than num_experts 4.",
    ),
    (
        new(mlp={"name": "moe", "num_experts": 4, "top_k": 0}),
        "variants.new.mlp.top_k is 0; it should be a whole number >= 1.",
    ),
    (
        new(mlp={"name": "moe", "num_experts": 4, "top_k": 1, "every": 5}),
        "variants.new.mlp.every 5 is more than depth 4.",
    ),
    (
        new(mlp={"name": "moe", "num_experts": 4, "top_k": 1, "normalise": True}),
        "variants.new.mlp.top_k 1 is less than 1 + normalise, 2.",
    ),
    (
        new(mlp={"name": "expert_choice", "num_experts": 6, "capacity": 2}),
        "variants.new.mlp.num_experts 6 does not divide capacity * num_tokens, 128.",
    ),
    (
        derived({"name": "upcycle_expert_choice", "num_experts": 5, "capacity": 1}),
        "variants.new.apply[0].num_experts 5 does not divide capacity * num_tokens, 64.",
    ),
    (
        derived({"name": "upcycle", "num_experts": 4, "top_k": 2}, parent="MoE-S2-8E2A"),
        "variants.new.apply[0] is upcycle of moe mlp; it needs dense.",
    ),
    (
        new(distill={"teacher": "S2-base", "alpha": 0.3}, training={"num_timesteps": 500}),
        "teacher S2-base was trained with 1000 timesteps and its student with 500",
    ),
    (derived(pruned(keep_heads=7)), "new.apply[0].keep_heads 7 is more than num_heads 6."),
    (derived(pruned(keep_heads=0)), "keep_heads is 0; it should be a whole number >= 1."),
    (
        derived(pruned(keep_heads=4), parent="S2-prune-3"),
        "variants.new.apply[0].keep_heads 4 is more than num_heads 3, after prune_heads.",
    ),
    (
        derived(pruned(keep_heads=4), pruned(keep_heads=5)),
        "variants.new.apply[1].keep_heads 5 is more than num_heads 4, after prune_heads.",
    ),
    (
        derived(pruned(keep_heads=2), parent="S2-med-4"),
        "variants.new.apply[0] is prune_heads of mediated attention; it needs full or shallow.",
    ),
    (
        derived(pruned(keep_heads=2), parent="Q-S2"),
        "variants.new.apply[0] is prune_heads of what int8_weight_only made; int8_weight_only "
        "should come last.",
    ),
    (
        derived(narrowed(500)),
        "variants.new.apply[0].keep_channels 500 is more than num_channels 384.",
    ),
    (
        derived(narrowed(200), narrowed(201)),
        "new.apply[1].keep_channels 201 is more than num_channels 200, after prune_mlp.",
    ),
    (
        derived(narrowed(8), parent="MoE-S2-4E1A"),
        "variants.new.apply[0] is prune_mlp of moe mlp; it needs dense.",
    ),
    (
        derived({"name": "prune_mlp", "keep_channels": 8, "criterion": "least_damage"}),
        "criterion is 'least_damage'; it should be norm, random or taylor.",
    ),
    (
        derived({"name": "fp8_dynamic"}, parent="Q8dyn-S2"),
        "variants.new.apply[0] is fp8_dynamic of what int8_dynamic made; int8_dynamic should come "
        "last.",
    ),
    (
        {"backbones": {"S": {"hidden_size": 84, "num_heads": 3}}},
        "variants.Q8dyn-S2.apply[0] is int8_dynamic: hidden_size 84 is not a multiple of 8.",
    ),
    (
        {"backbones": {"S": {"num_heads": 5}}},
        "backbones.S.hidden_size 96 is not a multiple of num_heads 5.",
    ),
    (
        {"data": {"image_size": 25}, "autoencoder": {"train": {"crop_size": 24}}},
        "data.image_size 25 is not a multiple of autoencoder.downsample",
    ),
    (
        {"training": {"num_timesteps": 21}, "sampling": {"steps": 22}},
        "sampling.steps 22 is more than",
    ),
    (
        new(training={"num_timesteps": 30}, sampling={"steps": 40}),
        "variants.new.sampling.steps 40 is more than training.num_timesteps 30.",
    ),
    (
        {"sampling": {"guided_channels": 5}},
        "sampling.guided_channels 5 is more than autoencoder.la",
    ),
    (
        {"sampling": {"num_samples": 10}},
        "sampling.num_samples 10 is less than data.num_classes * ",
    ),
]

OTHERS = [
    ({"data": {"reference_per_class": 201}}, "data.reference_per_class 201 is more than data.max"),
    (
        {"data": {"min_images_per_class": 231}},
        "data.min_images_per_class 231 is more than data.max",
    ),
    (
        {"data": {"num_classes": 12}},
        "data.num_classes 12 is more than len(data.photos.names), 11.",
    ),
    (
        {"evaluation": {"copies_per_class": 9}},
        "evaluation.copies_per_class is now called memorization_per_class.",
    ),
    (
        {"data": {"classes": ["coffee", "gravel"]}},
        "data.num_classes 11 is more than len(data.classes), 2.",
    ),
    (
        {"data": {"classes": ["cofee", "gravel"], "num_classes": 2}},
        "data.classes: 'cofee' is unknown; did you mean coffee?",
    ),
    (
        {"sampling": {"prompts": ["coffe"]}},
        "prompts: no class of the study is 'coffe'; did you mean coffee?",
    ),
    (
        {
            "data": {"photos": None, "classes": ["cat", "dog"], "num_classes": 2},
            "sampling": {"prompts": ["lion", "dog", "whale"]},
        },
        "sampling.prompts: no class of the study is 'lion', 'whale'; known: cat, dog.",
    ),
    (
        {"data": {"photos": {"min_side": 1.0, "max_side": 0.5}}},
        "min_side 1.0 is more than data.pho",
    ),
    (
        {"data": {"photos": {"crop_size": 24}}},
        "data.image_size 32 is more than data.photos.crop_size 24.",
    ),
    (
        {"data": {"photos": {"crops_per_photo": 179}}},
        "179 is less than data.held_out_per_class +",
    ),
    (
        {"data": {"num_classes": 3, "reference_per_class": 1}, "evaluation": {"neighbours": 2}},
        "num_classes * min(data.min_images_per_class, data.reference_per_class) 3 is less than 4.",
    ),
    (
        {"data": {"num_classes": 3, "min_images_per_class": 1}, "evaluation": {"neighbours": 2}},
        "num_classes * min(data.min_images_per_class, data.reference_per_class) 3 is less than 4.",
    ),
    (
        {"data": {"num_classes": 3, "held_out_per_class": 1}, "evaluation": {"neighbours": 2}},
        "data.num_classes * data.held_out_per_class 3 is less than 4.",
    ),
    ({"data": {"images": "results/mine/images"}}, "should lie in results/photos/"),
    ({"data": {"images": "results/photos/../../images"}}, "should lie in results/photos/"),
    ({"data": {"images": "data/pictures"}}, "with data.photos: null it is yours and only read."),
    ({"data": {"images": "results/photos"}}, "data.images 'results/photos' is made by this study"),
    ({"study": "mine"}, "autoencoder.source 'results/photos/autoencoder' is made by this study"),
    (
        {"autoencoder": {"train": {"channels": [16, 32, 60]}}},
        "channels[2] is 60; it should be a whole number >= 8 and a multiple of 8.",
    ),
    (
        {"autoencoder": {"train": {"channels": [16]}}},
        "downsample_factor 2 is more than 2 ** (len(autoencoder.train.channels) - 1), 1.",
    ),
    (
        {"autoencoder": {"train": {"crop_size": 64}}},
        "train.crop_size 64 is more than data.image_siz",
    ),
    (
        {"autoencoder": {"train": {"crop_size": 31}}},
        "train.crop_size 31 is not a multiple of autoe",
    ),
    (
        {"autoencoder": {"train": None, "source": "org/vae"}},
        "autoencoder.source 'org/vae' is no folder here; a name on the hub, owner/name, needs",
    ),
    (
        {"autoencoder": {"train": None, "source": "org/vae", "revision": "main"}},
        "autoencoder.revision is 'main'; it should be null or the 40 hexadecimal digits of",
    ),
    (
        {"speed": {"table_batch_size": 4}},
        "table_batch_size 4 is none of speed.eager_batch_sizes [1, 8].",
    ),
    (
        {"evaluation": {"neighbours": 264}},
        "evaluation.neighbours 264 is more than sampling.num_samples - 1, 263.",
    ),
    (
        {"paper_values": "no.csv"},
        "paper_values 'no.csv' cannot be read (No such file or directory)",
    ),
    ({"paper_values": "README.md"}, "paper_values: README.md has the columns"),
]
TABLE = KEYS_AND_VALUES + COMPONENTS + VARIANTS + OTHERS


@pytest.mark.parametrize(("overlay", "sentence"), TABLE, ids=lambda value: str(value)[:60])
def test_bad_config_is_told_in_one_sentence(overlay, sentence, monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = config_problems(merged(CONFIG, overlay))
    assert sum(sentence in problem for problem in problems) == 1, problems
    for problem in problems:
        assert problem.isprintable() and problem.endswith((".", "?"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_have_no_problems(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert config_problems(SHIPPED[name]) == []


@pytest.mark.parametrize(
    "overlay",
    [
        {"variants": {"KD-XS2": {"distill": {"teacher": 3}}}},
        {"variants": {"S2-base": {"patch_size": "2"}}},
        {"backbones": {"XS": {"num_heads": []}}},
        {"autoencoder": {"downsample_factor": 0}},
        {"sampling": {"steps": None}},
        {"data": {"photos": {"names": ["brick", 3]}}},
        {"study": 3},
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_one_problem_not_several(overlay):
    """What rests on the value is not judged."""
    assert len(config_problems(merged(CONFIG, overlay))) == 1


def test_a_wrong_variant_does_not_hide_another(config):
    config["variants"] |= {"a": None, "b": BASE | {"patch_size": 5}, "c": BASE | {"from": "a"}}
    problems = config_problems(config)
    assert {problem.split()[0] for problem in problems} == {
        "variants.a",
        "variants.c.backbone",
        "variants.c.patch_size",
        "variants.b.patch_size",
    }


def test_what_is_made_from_a_refused_variant_is_not_judged_by_it(config):
    fewer = {"num_timesteps": 500}
    config["variants"] |= {
        "teacher": BASE | {"training": fewer, "mlp": {"name": "mo"}},
        "student": BASE | {"training": fewer, "distill": {"teacher": "teacher", "alpha": 0.5}},
        "derived": {"group": "Own", "from": "teacher", "apply": [INT8]},
    }
    assert config_problems(config) == [
        "variants.teacher.mlp.name: 'mo' is unknown; did you mean moe?"
    ]


def test_whatever_a_config_holds_is_told_and_nothing_is_raised():
    for path in branches(CONFIG):
        for junk in JUNK:
            config = copy.deepcopy(CONFIG)
            put(junk, config, path)
            assert isinstance(config_problems(config), list), (path, junk)
    assert all(len(config_problems(junk)) == 1 for junk in JUNK if not isinstance(junk, dict))


def test_several_wrong_values_at_once_are_told_and_nothing_is_raised():
    random, paths = Random(0), list(branches(CONFIG))
    for _ in range(1000):
        config = copy.deepcopy(CONFIG)
        for path in random.sample(paths, 4):
            put(copy.deepcopy(random.choice(MORE_JUNK)), config, path)
        for problem in config_problems(config):
            assert problem.isprintable() and problem.endswith((".", "?"))


def put(value, node, path):
    """Set the value at the path, as far as it still leads."""
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value


def branches(node, path=()):
    """Path of every key and list entry."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from branches(value, (*path, key))


def test_all_problems_are_listed_before_anything_runs(tmp_path):
    overlay = tmp_path / "bad.yaml"
    overlay.write_text(
        "study: photos\n"
        "training: {learning_rate: 1e-4}\n"
        "trainig: {}\n"
        "speed: {table_batch_size: 3}\n"
        "variants: {KD-XS2: {distill: {teacher: S2-bas}}, Q-S2: {apply: [{name: int8_weight}]}}\n"
    )
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(overlay)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    (found,) = re.findall(r"^config: 5 problems\n((?:  .+\n){5})", run.stderr, flags=re.M)
    assert found.splitlines() == [
        "  trainig is no key; did you mean training?",
        "  training.learning_rate is '1e-4', text to YAML; write 0.0001.",
        "  variants.KD-XS2.distill.teacher: 'S2-bas' is unknown; did you mean S2-base?",
        "  variants.Q-S2.apply[0].name: 'int8_weight' is unknown; did you mean int8_weight_only?",
        "  speed.table_batch_size 3 is none of speed.eager_batch_sizes [1, 8].",
    ]


def test_what_yaml_is_told_to_be_written_is_a_number_to_yaml():
    for text, value in (("1e-4", 1e-4), ("2E+3", 2000), ("1.5e20", 1.5e20), (".5e-3", 5e-4)):
        config = merged(CONFIG, {"training": {"weight_decay": text}})
        (problem,) = config_problems(config)
        assert yaml.safe_load(problem.split("write ")[1].removesuffix(".")) == value


def test_options_are_those_of_the_constructors():
    mediated, prune_heads = components("attention")["mediated"], components("compression")
    assert mediated.schema["properties"] == {
        "num_mediators": {"type": "integer"},
        "local": {"type": "boolean"},
    }
    assert mediated.schema["required"] == ["num_mediators"]
    assert prune_heads["prune_heads"].schema["properties"] == {
        "keep_heads": {"type": "integer", "minimum": 1},
        "mode": {"enum": ["structural", "masked"]},
        "criterion": {"enum": ["norm", "random", "taylor", "least_damage"]},
        "seed": {"type": "integer", "minimum": 0},
    }
    assert default_of("compression", "prune_heads", "mode") == "structural"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_what_the_source_says_is_what_the_imported_component_has(kind):
    registry = REGISTRIES[kind]
    for name, found in components(kind).items():
        component = registry[name]
        options = list(inspect.signature(component).parameters.values())[len(registry.given) :]
        assert found.schema == with_shared(options_schema(name, options), registry)
        for attribute in (name for name in dir(found.outline) if not name.startswith("__")):
            value = getattr(found.outline, attribute)
            assert value is UNKNOWN or getattr(component, attribute) == value


def with_shared(schema, registry):
    shared = {name: type_schema(each) for name, each in registry.shared.items()}
    return schema | {"properties": schema["properties"] | shared}


def test_the_backend_that_picks_the_environment_is_the_extractors_own():
    assert default_of("extractor", "inception-2015", "backend") == "tensorflow"
    assert default_of("extractor", "efficientnet-lite0", "backend") is None
