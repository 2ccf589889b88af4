"""A step's digest is of the definitions that it reaches, wherever they stand, under any Python."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from subjects import IMAGENET200, PHOTOS, ROOT

from slimdit.core.code_digest import AROUND, definition_digests, file_of, load, normal_form
from slimdit.study.component_options import components

SCRIPTS = ROOT / "workflow/scripts"
STEPS = sorted(path.stem for path in SCRIPTS.glob("*.py"))
ALL = {
    "attention": {"full", "shallow", "mediated", "focused"},
    "mlp": {"dense", "moe"},
    "compression": {"prune_heads", "prune_mlp", "int8_weight_only", "int8_dynamic", "fp8_dynamic"},
    "sampler": {"ddim", "ddpm", "dpmpp_2m", "unipc"},
    "cache": {"reuse", "extrapolate"},
    "extractor": {"efficientnet-lite0", "inception-2015"},
}
PLAIN = {"attention": {"full"}, "mlp": {"dense"}, "sampler": {"ddim"}}
FEATURES = {"evaluate", "evaluate_by_statistics", "evaluate_reference", "make_reference"}
MOVED = "slimdit/evaluation/metrics/memorization.py"
# Of what every Python writes in its own way: strings, f-strings, unpacking, match, type parameters.
SNIPPET = '''
@decorate(key="ü", other='a' "b")
def step(x: int, /, *args, y=f"{1!r:>{8}} {2:.3f} {'z'}", **rest) -> None:
    """Of no meaning."""
    import json  # nor this
    match x:
        case {"a": [1, *_], **more} if more: return (y := -1.5e-3, *args, *rest), b"\\xff", ...
    return [z async for z in x if not z] + [lambda: None] + [1_000, 0x10, True, None][::2]
'''
EXPECTED = "d6f525d8056b"  # what every Python since 3.11 gives of it


def digests(step, used=ALL, scripts=SCRIPTS):
    return all_of(scripts, used, [step])[step]


@pytest.fixture
def library(tmp_path):
    """A copy of the rules' scripts and the library, to edit."""
    scripts = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    return scripts


def all_of(scripts, used=ALL, steps=STEPS):
    """As a new process reads the code."""
    load.cache_clear()
    file_of.cache_clear()
    return {step: definition_digests(step, step, used, scripts) for step in steps}


def changed(before, after):
    """Steps whose digests differ."""
    return {step for step in before if before[step] != after[step]}


def edit(path, *replacements):
    text = path.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def with_another_layout(text):
    """The same code as the syntax tree prints it: without comments, in other lines."""
    return f"# other words\n\n{ast.unparse(ast.parse(text))}\n"


@pytest.mark.parametrize("step", STEPS)
def test_every_step_reaches_itself_and_what_it_uses(step):
    assert step in digests(step)
    assert all(re.fullmatch(r"[0-9a-f]{12}", digest) for digest in digests(step).values())


def test_what_changes_no_meaning_changes_no_digest(library):
    before = all_of(library)
    for path in library.rglob("*.py"):
        path.write_text(with_another_layout(path.read_text()))
    assert changed(before, all_of(library)) == set()
    for path in library.rglob("*.py"):
        path.write_text(re.sub(r"^import (\w+)$", r"import \1, ast", path.read_text(), flags=re.M))
        path.write_text(path.read_text() + "\n\ndef new_helper():\n    return 1\n")
    assert changed(before, all_of(library)) == set()


def test_a_moved_definition_changes_no_digest(library):
    """A function moves to a module of its own, a module to another room."""
    before = all_of(library)
    edit(library / MOVED, ("class Memorization", "class Elsewhere"))
    moved = (SCRIPTS / MOVED).read_text()
    (library / "slimdit/core/memorization.py").write_text(moved)
    for path in library.rglob("*.py"):
        text = path.read_text()
        path.write_text(text.replace("evaluation.metrics.memorization", "core.memorization"))
    assert changed(before, all_of(library)) == set()


def test_what_surrounds_a_step_is_no_part_of_it(library):
    before = all_of(library)
    for package in AROUND:
        place = library.joinpath(*package.split("."))
        paths = [*place.glob("*.py"), *place.parent.glob(f"{place.name}.py")]
        assert paths
        for path in paths:
            path.write_text(path.read_text() + "\nPOLL_S = 17\nraise SystemExit(POLL_S)\n")
    edit(library / "slimdit/jobs/locks.py", ("POLL_S = 0.5", "POLL_S = 0.7"))
    assert changed(before, all_of(library)) == set()


def test_a_change_reaches_the_steps_that_use_it(library):
    before = all_of(library)
    edit(library / "slimdit/training/loop.py", ("1 - self.ema_decay", "2 - self.ema_decay"))
    assert changed(before, all_of(library)) == {"train", "train_autoencoder"}


LOSSES = {"train", "measure_sensitivity", "compress", "held_out_loss"}
SAMPLING = {"calibrate_cache", "sample", "sample_shard", "measure_speed"}


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("evaluation/metrics/kid.py", {"evaluate", "evaluate_reference"}),
        ("evaluation/quality.py", {"evaluate", "evaluate_by_statistics", "evaluate_reference"}),
        ("evaluation/features/inception_2015.py", FEATURES),
        ("evaluation/features/extractor.py", FEATURES),
        ("diffusion/samplers/ddim.py", SAMPLING),
        ("diffusion/samplers/linear_multistep.py", SAMPLING),
        ("diffusion/caches/reuse.py", SAMPLING | {"count_cost"}),
        ("diffusion/caches/block_values.py", SAMPLING | {"count_cost"}),
        ("diffusion/timesteps.py", SAMPLING | {"count_cost"}),
        ("diffusion/process.py", LOSSES | {"count_cost"} | SAMPLING),
    ],
)
def test_other_arithmetic_changes_the_steps_that_do_it(library, name, steps):
    before = all_of(library)
    path = library / "slimdit" / name
    path.write_text(re.sub(r"(\n    return )", r"\n    print(1)\1", path.read_text()))
    path.write_text(re.sub(r"(\n        return )", r"\n        print(1)\1", path.read_text()))
    assert changed(before, all_of(library)) == steps


def test_components_that_are_not_in_use_do_not_count(library):
    before = all_of(library, PLAIN)
    samplers = ("diffusion/samplers/ddpm.py", "diffusion/samplers/unipc.py")
    caches = ("diffusion/caches/reuse.py", "diffusion/caches/extrapolate.py")
    for name in ("models/attention/mediated.py", "models/mlp/moe.py", *samplers, *caches):
        path = library / "slimdit" / name
        path.write_text(path.read_text().replace("return ", "return 1 and "))
    assert changed(before, all_of(library, PLAIN)) == set()
    assert {"train", "sample", "count_cost"} <= changed(before, all_of(library))


def test_registrations_belong_to_the_operator_and_constants_to_their_users(library):
    moe = PLAIN | {"mlp": {"moe"}}
    before = all_of(library, moe)
    edit(library / "slimdit/models/ops.py", ("return x.new_empty(x.shape[0], weight", "return (x"))
    assert "train" in changed(before, all_of(library, moe))
    before = all_of(library)
    edit(library / "slimdit/data/latents.py", ("MEAN, STD = 0, 1", "MEAN, STD = 1, 0"))
    assert LOSSES | {"encode_latents", "reconstruct"} == changed(before, all_of(library))


def test_what_is_taken_from_outside_counts_by_its_name(library):
    before = all_of(library)
    edit(library / "slimdit/diffusion/process.py", ("import numpy as np", "import torch as np"))
    assert {"train", "sample"} <= changed(before, all_of(library))


STEP = """from slimdit.data.a import f, {imported}
from slimdit.data.b import g
def step():
    return f(), {used}(), g()
"""
TABLES = "A = {'x': 1}\nB = {'x': 2}\ndef f():\n    return A\ndef h():\n    return B\n"
SWAPPED = TABLES.replace("A =", "C =").replace("B =", "A =").replace("C =", "B =")


def of_small(scripts, a=TABLES, b="def g():\n    return 3\n", imported="h", used="h"):
    """Digests of a step of three short modules."""
    for path, text in {
        "slimdit/data/a.py": a,
        "slimdit/data/b.py": b,
        "step.py": STEP.format(imported=imported, used=used),
    }.items():
        (scripts / path).parent.mkdir(parents=True, exist_ok=True)
        (scripts / path).write_text(text)
    return digests("step", {}, scripts)


def test_names_that_change_places_change_the_digest(tmp_path):
    assert of_small(tmp_path) != of_small(tmp_path, SWAPPED)
    uses_h = "from slimdit.data.a import h\ndef g():\n    return h()\n"
    one, two = (of_small(tmp_path, TABLES, uses_h, f"{name} as k", "k") for name in "fh")
    assert one.keys() == two.keys() and one != two


def test_definitions_of_one_name_are_told_apart(tmp_path):
    """Two modules have an `A`; they change their values, or what names the one names the other."""
    one, two = "A = 1\n", "A = 2\n"
    f, h = "def f():\n    return A\n", "from slimdit.data.b import A as D\ndef h():\n    return D\n"
    g = "def g():\n    return A\n"
    before = of_small(tmp_path, one + f + h, two + g)
    assert before != of_small(tmp_path, two + f + h, one + g)
    assert before != of_small(tmp_path, one + f + h.replace("b import", "a import"), two + g)


@pytest.mark.parametrize(
    "statement",
    ["b.A = 1", "T['x'] = 1", "T += [1]", "del T['x']", "T[0].x: int = 1", "T, *c = T"],
)
def test_what_changes_another_modules_definitions_is_refused(tmp_path, statement):
    text = f"from slimdit.data import b\nfrom slimdit.data.b import T\n{statement}\n{TABLES}"
    with pytest.raises(ValueError, match=r"slimdit.data.a changes \w of another module"):
        of_small(tmp_path, text)


def test_a_registry_under_an_alias_is_one(library):
    path = library / "slimdit/models/mlp/__init__.py"
    before = digests("train", PLAIN, library)
    edit(path, ("import Registry", "import Registry as Names"), ("Registry(", "Names("))
    assert digests("train", PLAIN, library) == before
    edit(path, ("slimdit.core.registry import Registry as Names", "slimdit.core import registry"))
    edit(path, ("Names(", "registry.Registry("))
    assert digests("train", PLAIN, library) == before


def test_a_data_file_that_a_definition_names_counts(library):
    before = all_of(library)
    with open(library / "slimdit/data/imagenet_synsets.csv", "a") as file:
        file.write("n00000000,name\n")
    naming = {"select_subset", "encode_latents", "describe_latents", "sample"}
    assert changed(before, all_of(library)) == naming


@pytest.mark.parametrize("study", [PHOTOS, IMAGENET200])
def test_every_component_of_the_shipped_studies_is_found(study):
    for variant in study.variants:
        assert digests("train", study.components(variant))


def test_an_unknown_component_or_name_is_refused(library):
    with pytest.raises(ValueError, match="attention 'window' is in no registry"):
        digests("train", {"attention": {"window"}})
    edit(library / "slimdit/models/attention/__init__.py", ("full.FullAttention", "full.Full"))
    with pytest.raises(ValueError, match=r"slimdit.models.attention.full defines no Full"):
        digests("train", PLAIN, library)


def pythons():
    """Interpreters of this machine, from 3.11 on."""
    names = [f"python3.{minor}" for minor in range(11, 20)]
    found = [shutil.which(name) for name in names]
    found += map(str, Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python"))
    return [path for path in found if path and runs(path)]


def runs(python):
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def test_a_syntax_tree_has_one_normal_form_in_every_python():
    from slimdit.core.code_digest import digest_of

    assert digest_of(normal_form(ast.parse(SNIPPET))) == EXPECTED


@pytest.mark.parametrize("python", pythons() or [None])
def test_another_python_gives_the_same_digests(python):
    if python is None:
        pytest.skip("there is no other Python of 3.11 or later on this machine")
    program = (
        f"import json, sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from slimdit.core.code_digest import definition_digests\n"
        "from slimdit.study.component_options import components\n"
        f"used = {json.dumps({kind: sorted(names) for kind, names in ALL.items()})}\n"
        f"steps = {STEPS}\n"
        "print(json.dumps({step: definition_digests(step, step, used) for step in steps}))\n"
        "schemas = {k: {n: components(k)[n].schema for n in used[k]} for k in used}\n"
        "print(json.dumps(schemas))\n"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    digests_there, schemas_there = map(json.loads, done.stdout.splitlines())
    assert digests_there == all_of(SCRIPTS)
    for kind, names in ALL.items():
        assert schemas_there[kind] == {name: components(kind)[name].schema for name in names}
