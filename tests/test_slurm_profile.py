"""What jobs ask SLURM for, by Snakemake's reading of the profile and its plugin's own words; and a
job's part of a machine."""

import re
from types import SimpleNamespace

import pytest
from snakemake.cli import parse_args
from subjects import ROOT

from slimdit.jobs.job import num_gpus
from slimdit.study.steps import STEPS

submit = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")

ON_GPU = {name for name, step in STEPS.items() if step.takes_gpu}
PARAMS = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
SHARED, TRAINING = "&gpu {nodes: 1", "  train: {<<: *gpu"


class Resources(dict):
    __getattr__ = dict.__getitem__


@pytest.fixture
def resources_of(tmp_path, monkeypatch):
    """The resources of each rule that the profile names, where a user has added to those of all
    rules on GPUs and of trainings."""
    monkeypatch.chdir(tmp_path)

    def read(added="", to_training=""):
        text = (ROOT / "profiles/slurm/config.yaml").read_text()
        assert text.count(SHARED) == 1
        text = text.replace(SHARED, SHARED + added).replace(TRAINING, TRAINING + to_training)
        (tmp_path / "config.yaml").write_text(text)
        _, arguments = parse_args(["--profile", str(tmp_path)])
        found = {}
        for rule, own in arguments.set_resources.items():
            of_profile = {**dict(arguments.default_resources.items()), **own}
            of_rule = Resources({"gpu": 1} if rule in ON_GPU else {})
            for name, resource in of_profile.items():
                is_number = str(resource.raw).isdigit()
                of_rule[name] = int(resource.raw) if is_number else resource.raw
            found[rule] = of_rule
        return found

    return read


def asked(resources):
    """The GPUs and the nodes that sbatch is asked for."""
    job = SimpleNamespace(resources=resources, threads=1)
    command = submit.get_submit_command(job, dict.fromkeys(PARAMS, ""))
    return re.findall(r"--(?:gpus|gres|nodes)=\S+", command + utils.set_gres_string(job))


def test_the_profile_knows_every_rule_that_computes_on_a_gpu(resources_of):
    assert resources_of().keys() == ON_GPU | {"select_subset"}


@pytest.mark.parametrize(
    ("added", "gpus"),
    [
        ("", "--gpus=1"),
        (", gpu_model: a100", "--gpus=a100:1"),
        (', gpu: 0, gres: "gpu:a100:1"', "--gres=gpu:a100:1"),
    ],
)
def test_rules_ask_for_the_gpus_that_they_take(resources_of, added, gpus):
    for rule, resources in resources_of(added).items():
        assert asked(resources) == (["--nodes=1", gpus] if rule in ON_GPU else [])
        assert num_gpus(resources) == (rule in ON_GPU)


def test_gpus_of_one_training_are_on_one_node(resources_of):
    found = resources_of("", ", gpu: 4")["train"]
    assert asked(found) == ["--nodes=1", "--gpus=4"]
    assert num_gpus(found) == 4


@pytest.mark.parametrize(
    ("gres", "count"), [("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:a100:4", 4), ("ssd:1", 0)]
)
def test_gpus_are_counted_as_slurm_writes_them(gres, count):
    assert num_gpus({"gpu": 0, "gres": gres}) == count


@pytest.mark.parametrize(
    ("step", "gpus", "own", "threads"),
    [
        ("train", None, None, 16),
        ("train", 1, None, 16),
        ("train", 8, None, 2),
        ("train", 8, 4, 8),
        ("train", 4, 4, 16),
        ("train", 4, 0, 16),
        ("train", 64, None, 1),
        ("evaluate", 2, None, 8),
        ("measure_speed", 8, None, 16),
        ("train_autoencoder", 2, None, 16),
        ("select_subset", 8, None, 16),
        ("tables", 1, None, 1),
    ],
)
def test_a_jobs_part_of_the_cores_is_its_part_of_the_gpus(step, gpus, own, threads):
    """But what should be alone has all of them, as has what needs no GPU."""
    assert STEPS[step].threads(16, gpus, own) == threads
