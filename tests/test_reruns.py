"""What runs again after a change, on dry runs of the whole study."""

import ast
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from planning import plan

from slimdit.core.randomness import stream
from slimdit.study.study import Study

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
VARIANTS = list(CONFIG["variants"])
STUDY = Study(CONFIG)
DERIVED = {name: block["from"] for name, block in CONFIG["variants"].items() if "from" in block}
STUDENTS = {
    name: block["distill"]["teacher"]
    for name, block in CONFIG["variants"].items()
    if "distill" in block
}
RESULTS = {"tables", "figures", "explore"}
YEAR_S = 365 * 24 * 3600


def row(variant):
    """The jobs of one variant's row once it has weights, without their making."""
    children = (child for child in VARIANTS if STUDY.timed_against(child) == variant)
    own = {f"{rule}:{variant}" for rule in ("held_out_loss", "sample", "evaluate", "measure_speed")}
    return own | {f"measure_speed:{child}" for child in children}


def made(variant):
    """The jobs that make a variant's weights and its row, and all that is made from them."""
    own = f"compress:{variant}" if variant in DERIVED else f"train:{variant}"
    followers = [name for name, parent in (DERIVED | STUDENTS).items() if parent == variant]
    return {own}.union(row(variant), *(made(name) for name in followers))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The project with every output of the study in place and recorded as up to date."""
    project = tmp_path_factory.mktemp("finished") / "project"
    project.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, project / name)
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for outputs in plan(project).values():
        for output in outputs:
            path = project / output
            path.parent.mkdir(parents=True, exist_ok=True)
            if output == CONFIG["data"]["images"]:
                path.mkdir()
            else:
                path.write_text(json.dumps({"is": output}))  # the graph reads some of them
    plan(project, execute="touch", force=True)
    return project


@pytest.fixture
def project(finished, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished, copy, copy_function=shutil.copy2, symlinks=True)
    return copy


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_config(project, change):
    config = yaml.safe_load((project / "config.yaml").read_text())
    change(config)
    (project / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_nothing_runs_when_nothing_changed(project):
    assert plan(project) == {}


def test_one_variants_hyperparameter_reruns_its_row(project):
    edit_config(
        project, lambda c: c["variants"]["S2-med-4"].update(training={"learning_rate": 0.01})
    )
    assert set(plan(project)) == made("S2-med-4") | RESULTS


def test_a_shared_hyperparameter_retrains_all_but_those_that_override_it(project):
    def change(config):
        config["training"]["learning_rate"] = 0.01

    edit_config(project, change)
    trained = [name for name in VARIANTS if name not in DERIVED]
    assert set(plan(project)) == RESULTS.union(*(made(name) for name in trained))


def test_sampling_count_samples_anew_and_trains_nothing(project):
    edit_config(project, lambda c: c["sampling"].update(num_samples=26))
    expected = {f"{rule}:{v}" for rule in ("sample", "evaluate") for v in VARIANTS}
    assert set(plan(project)) == expected | {"evaluate_reference"} | RESULTS


def test_a_new_variant_is_the_only_one_trained(project):
    block = {"group": "Own", "backbone": "S", "patch_size": 2, "attention": {"name": "shallow"}}
    edit_config(project, lambda c: c["variants"].update({"My-own": block}))
    expected = {"train:My-own", "count_cost:My-own"} | row("My-own") | RESULTS
    assert set(plan(project)) == expected


def test_a_removed_variant_rewrites_the_results_alone(project):
    edit_config(project, lambda c: c["variants"].pop("S2-fg-3"))
    assert set(plan(project)) == RESULTS


@pytest.mark.parametrize(
    "script", ["train.py", "slimdit/training/loop.py", "slimdit/models/attention/mediated.py"]
)
def test_a_comment_reruns_nothing(project, script):
    path = project / "workflow/scripts" / script
    path.write_text(path.read_text() + "\n# a comment\n")
    assert plan(project) == {}


def test_a_docstring_reruns_nothing(project):
    path = project / "workflow/scripts/slimdit/models/attention/mediated.py"
    path.write_text(re.sub(r'^""".*?"""', '"""Other words."""', path.read_text(), flags=re.S))
    assert plan(project) == {}


def test_a_change_in_mediated_attention_reruns_the_mediated_variants(project):
    path = project / "workflow/scripts/slimdit/models/attention/mediated.py"
    edit(path, "math.isqrt(num_mediators)", "1 * math.isqrt(num_mediators)")
    mediated = ["S2-med-4", "S2-med-16", "S2-med-4-no-local"]
    expected = RESULTS.union(*(made(v) | {f"count_cost:{v}"} for v in mediated))
    assert set(plan(project)) == expected


def test_other_weights_of_a_base_time_the_rows_measured_against_it_anew(project):
    path = project / f"results/{STUDY.name}/variants/XS2-base/seed-0/checkpoint.safetensors"
    path.write_text("others")
    expected = made("XS2-base") - {"train:XS2-base"} | RESULTS
    assert set(plan(project)) == expected
    of_child = {job for job in expected if job.endswith(":MoE-XS2-8E2A")}
    assert of_child == {"measure_speed:MoE-XS2-8E2A"}


def test_another_criterion_of_pruning_reruns_its_row(project):
    def change(config):
        config["variants"]["S2-prune-3"]["apply"][0]["criterion"] = "least_damage"

    edit_config(project, change)
    assert set(plan(project)) == made("S2-prune-3") | {"count_cost:S2-prune-3"} | RESULTS


def test_how_damage_is_measured_reruns_compressed_rows(project):
    edit(project / "workflow/scripts/slimdit/training/calibration.py", "= 256", "= 512")
    expected = {f"compress:{name}" for name in DERIVED}.union(*(row(name) for name in DERIVED))
    assert set(plan(project)) == expected | RESULTS


def test_a_new_attention_reruns_nothing(project):
    attention = project / "workflow/scripts/slimdit/models/attention"
    (attention / "window.py").write_text("class WindowAttention: pass\n")
    edit(
        attention / "__init__.py",
        '"full": ',
        '"window": "window.WindowAttention",\n        "full": ',
    )
    assert plan(project) == {}


def test_the_average_of_weights_retrains_all(project):
    path = project / "workflow/scripts/slimdit/training/loop.py"
    edit(path, "1 - self.ema_decay", "2 - self.ema_decay")
    jobs = set(plan(project))
    assert {"train_autoencoder"} | {f"train:{v}" for v in VARIANTS if v not in DERIVED} <= jobs


def test_helpers_formats_moves_and_locks_rerun_nothing(project):
    library = project / "workflow/scripts/slimdit"
    for path in library.rglob("*.py"):
        path.write_text(ast.unparse(ast.parse(path.read_text())) + "\n\ndef helper():\n    pass\n")
    edit(library / "jobs/locks.py", "POLL_S = ", "POLL_S = 1 + ")
    moved = library / "training/loop.py"
    (library / "training/steps.py").write_text(moved.read_text())
    moved.unlink()
    for path in (project / "workflow/scripts").rglob("*.py"):
        path.write_text(path.read_text().replace("slimdit.training.loop", "slimdit.training.steps"))
    assert plan(project) == {}


def test_a_touched_tree_reruns_nothing(project):
    for path in sorted(project.rglob("*")):
        if ".snakemake" not in path.parts:
            os.utime(path)
    assert plan(project) == {}


def test_a_clock_that_jumps_reruns_nothing(project):
    random = stream(0, "clock")
    for path in sorted(project.rglob("*")):
        if ".snakemake" not in path.parts:
            now = path.stat().st_mtime + random.uniform(-1, 1) * YEAR_S
            os.utime(path, (now, now), follow_symlinks=False)
    assert plan(project) == {}


def test_how_speed_is_measured_measures_it_anew_and_nothing_else(project):
    edit_config(project, lambda c: c["speed"].update(timed_iterations=51))
    assert set(plan(project)) == RESULTS | {f"measure_speed:{v}" for v in VARIANTS}


def test_how_often_work_is_saved_reruns_nothing(project):
    def change(config):
        config["training"]["save_every_steps"] = 7
        config["autoencoder"]["train"]["save_every_steps"] = 7

    edit_config(project, change)
    assert plan(project) == {}


def test_two_swapped_parameters_are_noticed(project):
    def swap(config):
        sampling = config["sampling"]
        sampling["num_samples"], sampling["steps"] = sampling["steps"], sampling["num_samples"]

    edit_config(project, swap)
    assert {f"sample:{v}" for v in VARIANTS} <= set(plan(project))


def test_a_changed_teacher_retrains_its_student(project):
    edit_config(project, lambda c: c["variants"]["S2-base"].update(training={"steps": 7}))
    # Trained otherwise it is no longer the base that trained rows are measured against.
    now = Study(yaml.safe_load((project / "config.yaml").read_text()))
    rows = [name for name in VARIANTS if STUDY.timed_against(name) != now.timed_against(name)]
    timed = {f"measure_speed:{name}" for name in rows}
    assert set(plan(project)) == made("S2-base") | timed | RESULTS
    assert "train:KD-XS2" in made("S2-base")


def test_reordered_config_keys_rerun_nothing(project):
    def reorder(config):
        config["training"] = dict(reversed(config["training"].items()))

    edit_config(project, reorder)
    assert plan(project) == {}


def test_the_autoencoder_reruns_everything_made_from_it(project):
    edit_config(project, lambda c: c["autoencoder"]["train"].update(steps=7))
    jobs = set(plan(project))
    made_by_all = {"train_autoencoder", "encode_latents", "reconstruct", "make_reference"}
    assert made_by_all | {"evaluate_reference"} <= jobs
    assert {f"train:{v}" for v in VARIANTS if v not in DERIVED} <= jobs


def test_other_images_rerun_everything_but_the_counts(project):
    edit_config(project, lambda c: c["data"]["photos"].update(crops_per_photo=240))
    expected = {"cut_photos", "select_subset", "train_autoencoder", "encode_latents"}
    expected |= {"reconstruct", "make_reference", "evaluate_reference"} | RESULTS
    expected = expected.union(*(made(v) for v in VARIANTS))
    assert set(plan(project)) == expected


def test_the_papers_study_has_all_its_jobs(tmp_path):
    """21 trained and 12 derived variants, all sampled, evaluated, counted, timed."""
    project = tmp_path / "fresh"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "results", "__pycache__"))
    jobs = plan(project, (project / "config.yaml", project / "configs/imagenet200.yaml"))
    assert len([job for job in jobs if job.startswith("train:")]) == 21
    assert len(jobs) == 6 + 21 + 12 + 5 * 33 + 3
