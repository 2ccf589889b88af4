"""A new component is one file and one line: configs, digests, costs and dry runs know of it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from subjects import ROOT

NEW = {  # name: its registry, its file and class, its options, and ones that do not fit
    "strided": ("models/attention", "strided.StridedAttention", {"stride": 4}, {"stride": 99}),
    "halved": ("models/mlp", "halved.HalvedMlp", {"ratio": 3}, {"ratio": 7}),
    "mean": ("diffusion/samplers", "mean.Mean", {"noise": 0.5}, {"noise": 2}),
    "halfway": ("diffusion/caches", "halfway.Halfway", {"part": 0.5}, {"part": 2}),
    "rounding": ("models/compression", "rounding.Rounding", {"decimals": 3}, {"decimals": -1}),
    "colours": ("evaluation/features", "colours.Colours", {"cells": 3}, {"cells": 0}),
}
FOLDER = Path("workflow/scripts/slimdit")
SIZES = {"hidden_size": 24, "patch_size": 2, "depth": 2, "num_heads": 6}


def study(options):
    """An overlay on config.yaml whose rows use all six."""
    return {
        "study": "new",
        "data": {"images": "results/new/images"},
        "autoencoder": {"source": "results/new/autoencoder"},
        "sampling": {
            "sampler": "mean",
            "options": options["mean"],
            "cache": {"name": "halfway", **options["halfway"]},
        },
        "evaluation": {"extractor": "colours"},
        "extractors": {"colours": options["colours"]},
        "backbones": {"S": {key: SIZES[key] for key in ("depth", "hidden_size", "num_heads")}},
        "variants": {
            "new": {
                "group": "New",
                "backbone": "S",
                "patch_size": SIZES["patch_size"],
                "attention": {"name": "strided", **options["strided"]},
                "mlp": {"name": "halved", "every": 2, **options["halved"]},
            },
            "pruned": {
                "group": "New",
                "from": "new",
                "apply": [
                    {"name": "prune_heads", "keep_heads": 2},
                    {"name": "rounding", **options["rounding"]},
                ],
            },
        },
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project with six new components, and a study of them on top of its config."""
    root = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow", root / "workflow", ignore=ignored)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, root)
    for name, (room, entry, *_) in NEW.items():
        index = root / FOLDER / room / "__init__.py"
        line = rf'\1"{name}": "{entry}", '
        index.write_text(re.sub(r"(Registry\([^{]*\{)", line, index.read_text()))
        shutil.copy(ROOT / f"tests/new_components/{entry.partition('.')[0]}.py", index.parent)
    (root / "good.yaml").write_text(yaml.safe_dump(study({n: new[2] for n, new in NEW.items()})))
    (root / "bad.yaml").write_text(yaml.safe_dump(study({n: new[3] for n, new in NEW.items()})))
    return root


def run(project, *command):
    done = subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def test_a_study_of_new_components_plans(project):
    code, out, err = run(
        project, *["-m", "snakemake", "-n", "--cores", "1", "--configfile", "good.yaml"]
    )
    assert code == 0, out + err
    for rule in ("train", "compress", "sample", "evaluate", "count_cost"):
        assert re.search(rf"^{rule} +[1-9]", out, flags=re.M), out


def test_their_options_are_checked(project):
    code, _, err = run(project, *["-m", "snakemake", "-n", "--configfile", "bad.yaml"])
    assert code == 1
    # The variants are judged by their sizes where their options are of their types.
    assert [line.strip() for line in err.splitlines() if line.startswith("  ")] == [
        "extractors.colours.cells is 0; it should be a whole number >= 1.",
        "sampling.cache.part is 2; it should be a number >= 0 and <= 1.",
        "variants.pruned.apply[1].decimals is -1; it should be a whole number >= 0.",
        "variants.new.attention.stride 99 is more than num_tokens 64.",
        "variants.new.mlp.ratio 7 does not divide hidden_size 24.",
        "sampling.options.noise is 2; it should be a number >= 0 and <= 1.",
    ]


PROGRAM = """
import json, sys
sys.path.insert(0, "workflow/scripts")
from slimdit.core.code_digest import definition_digests
from slimdit.study.load import configured_study

study = configured_study(["good.yaml"])
used = study.components("pruned") | {"sampler": {"mean"}, "cache": {"halfway"}}
used |= {"extractor": {"colours"}}
steps = ("train", "sample", "evaluate")
digests = {step: sorted(definition_digests(step, step, used)) for step in steps}
assert "torch" not in sys.modules

from count_cost import count_cost
from slimdit.evaluation.features import EXTRACTORS

costs = {}
for variant in ("new", "pruned"):
    spec = study.structure(variant), study.operations(variant)
    how = study.timed_sampling(variant), study.num_timesteps(variant), None
    count_cost(variant + ".json", variant, *spec, *how, {"step": "count_cost"})
    costs[variant] = json.load(open(variant + ".json"))
features = EXTRACTORS["colours"].feature_dims(48, cells=3)
print(json.dumps([digests, costs, features]))
"""


def test_their_digests_and_costs_are_counted(project):
    code, out, err = run(project, "-c", PROGRAM)
    assert code == 0, err
    digests, costs, features = json.loads(out.splitlines()[-1])
    assert {"StridedAttention", "HalvedMlp", "DenseMlp", "Rounding"} <= set(digests["sample"])
    assert {"StridedAttention", "HalvedMlp"} <= set(digests["train"])
    assert {"Mean", "Halfway"} <= set(digests["sample"])
    assert {"Mean", "Halfway"}.isdisjoint(digests["evaluate"])
    assert "Colours" in digests["evaluate"] and "EfficientNetLite0" not in digests["evaluate"]

    hidden, ratio = SIZES["hidden_size"], 3
    one_of_two = (hidden + 1) * ratio * hidden + (ratio * hidden + 1) * hidden
    assert costs["new"]["total_params"] - costs["new"]["active_params"] == one_of_two
    assert 0 < costs["pruned"]["macs"] < costs["new"]["macs"]
    assert costs["new"]["passes_per_image"] == costs["new"]["cached_passes_per_image"] == 20
    assert features == [3, 27]
