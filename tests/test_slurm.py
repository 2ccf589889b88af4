"""A study on SLURM: its jobs time out, are requeued, cannot be placed, and it ends all the same."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests/slurm/local_slurm.sh"
DAEMONS = {"munged", "slurmctld", "slurmd", "slurmstepd"}
RUN = "results/tiny/variants/{}/seed-0"
FIRST, TIMED_OUT, REQUEUED, UNPLACED = "XS2-base", "S2-base", "S2-shallow", "S2-med-4"
ON_SLURM = ("--profile", "profiles/slurm")
HERE = ("--cores", "2", "--resources", "gpu=1")
FINISHED = [f"{RUN.format(FIRST)}/quality.json", f"{RUN.format('Q-XS2')}/checkpoint.safetensors"]
SUBMITTED = re.compile(r"SLURM jobid (\d+) \(log: \S+/rule_(\S+)/\d+\.log\)")
ENDED = re.compile(r"^JobId=(\d+) .*JobState=(\S+)", re.MULTILINE)

# One model for all rows: the speed of the first says how long the others take.
OVERLAY = """
training: {steps: 400, log_every_steps: 100}
backbones: {XS: {depth: 2, hidden_size: 24, num_heads: 6}}
"""
TIMED_OUT_S = 100  # of training, where SLURM stops a job after 60 to 90
REQUEUED_S, SAVE_EVERY_S = 40, 4

pytestmark = pytest.mark.slurm


class Cluster:
    """A SLURM of this machine alone, with two pretended GPUs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.script("start")
        path = f"{folder}/bin:{os.environ['PATH']}"
        self.environment = os.environ | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": path}

    def script(self, what: str) -> None:
        subprocess.run([SCRIPT, what, self.folder], check=True, env=os.environ | {"GPUS": "2"})

    def requeue(self, job: str) -> None:
        subprocess.run(["scontrol", "requeue", job], check=True, env=self.environment)

    def ends_of_jobs(self) -> dict[str, list[str]]:
        """The states in which each job ended, in order; a requeued one is pending again."""
        found = defaultdict(list)
        for job, state in ENDED.findall((self.folder / "log/jobs.log").read_text()):
            found[job].append(state)
        return found


class Project:
    """A copy of the project, whose SLURM profile is adapted to the cluster as a user would."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.folder, self.cluster = folder, cluster
        folder.mkdir()
        for name in ("Snakefile", "config.yaml", "tests/tiny.yaml"):
            shutil.copy2(ROOT / name, folder)
        for name in ("workflow", "profiles", "envs"):
            shutil.copytree(ROOT / name, folder / name)
        path = folder / "profiles/slurm/config.yaml"
        profile = yaml.safe_load(path.read_text())
        profile |= {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 4}
        profile |= {"retries": 5, "latency-wait": 5, "set-scatter": {"samples": 2}}
        profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
        for resources in profile["set-resources"].values():
            resources["mem_mb"] = 1000
        profile["set-resources"]["train"]["runtime"] = 1
        path.write_text(yaml.safe_dump(profile))
        self.write_overlay(OVERLAY)

    def write_overlay(self, text: str) -> None:
        (self.folder / "overlay.yaml").write_text(text)

    def start(self, log: str, *targets: str, options=ON_SLURM) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", *options]
        command += ["--configfile", "config.yaml", "tiny.yaml", "overlay.yaml", "--", *targets]
        with open(self.folder / log, "a") as file:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.cluster.environment, stdout=file, stderr=file
            )

    def run(self, log: str, *targets: str, **options) -> str:
        """What Snakemake says; raises AssertionError when it fails."""
        assert self.start(log, *targets, **options).wait() == 0, self.read(log)[-4000:]
        return self.read(log)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def submitted(self, log: str) -> dict[str, list[str]]:
        """The numbers of the jobs that were submitted, by rule and wildcards."""
        found = defaultdict(list)
        for job, what in SUBMITTED.findall(self.read(log)):
            found[what].append(job)
        return found

    def ends(self, variant: str) -> list[str]:
        """The states in which the jobs of a training ended."""
        of_jobs = self.cluster.ends_of_jobs()
        jobs = self.submitted("trainings.txt")[f"train/{variant}_0"]
        return [end for job in jobs for end in of_jobs[job]]

    def resumed_after(self, variant: str) -> int:
        """The step at which the last attempt of a training began."""
        log = self.read(f"results/tiny/logs/train/{variant}-seed-0.log")
        return int(re.search(r"goes on after step (\d+)", log)[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    before = daemons()
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        yield cluster
    finally:
        cluster.script("stop")
    assert daemons() == before


def daemons() -> set[int]:
    return {process.pid for process in psutil.process_iter(["name"]) if process.name() in DAEMONS}


@pytest.fixture(scope="module")
def project(cluster, tmp_path_factory):
    """The project once it has a first row: from latents that were made here, on SLURM."""
    project = Project(tmp_path_factory.mktemp("study") / "project", cluster)
    data = [f"results/tiny/data/{name}" for name in ("latents.npy", "reference.npz")]
    project.run("data.txt", *data, options=HERE)
    row = [f"results/tiny/variants/{FIRST}/{name}.json" for name in ("architecture", "speed")]
    project.run("first.txt", *row, *FINISHED)
    return project


@pytest.fixture(scope="module")
def steps(project):
    """Trains two rows, one for longer than its job may take, while the other's job is requeued.

    How many steps each has.
    """
    report = json.loads(project.read(f"{RUN.format(FIRST)}/training.json"))
    steps = {
        variant: int(seconds * report["steps_per_s"])
        for variant, seconds in ((TIMED_OUT, TIMED_OUT_S), (REQUEUED, REQUEUED_S))
    }
    targets = [f"{RUN.format(variant)}/training.json" for variant in steps]
    write_steps(project, steps)
    snakemake = project.start("trainings.txt", *targets)
    states = project.folder / f"results/tiny/state/train/{REQUEUED}-seed-0"
    while not list(states.glob("*.safetensors")):
        assert snakemake.poll() is None, project.read("trainings.txt")[-4000:]
        time.sleep(0.5)
    (job,) = project.submitted("trainings.txt")[f"train/{REQUEUED}_0"]
    project.cluster.requeue(job)
    assert snakemake.wait() == 0, project.read("trainings.txt")[-4000:]
    while "TIMEOUT" not in project.ends(TIMED_OUT):  # the machine has become faster meanwhile
        steps[TIMED_OUT] *= 3
        write_steps(project, steps)
        project.run("trainings.txt", *targets)
    return steps


def write_steps(project, steps):
    save_every = {
        TIMED_OUT: steps[TIMED_OUT],  # only when it is told to stop
        REQUEUED: steps[REQUEUED] * SAVE_EVERY_S // REQUEUED_S,
    }
    variants = {
        name: {"training": {"steps": steps[name], "save_every_steps": save_every[name]}}
        for name in steps
    }
    project.write_overlay(OVERLAY + yaml.safe_dump({"variants": variants}))


def test_jobs_run_on_slurm_and_light_ones_here(project):
    submitted = project.submitted("first.txt")
    rules = {what.split("/")[0] for what in submitted}
    assert {"train", "evaluate", "measure_speed"} <= rules
    assert not rules & {"encode_latents", "count_cost"}
    ends = project.cluster.ends_of_jobs()
    assert {end for jobs in submitted.values() for job in jobs for end in ends[job]} == {
        "COMPLETED"
    }


def test_a_training_longer_than_its_job_goes_on_in_the_next(project, steps):
    assert project.ends(TIMED_OUT)[-2:] == ["TIMEOUT", "COMPLETED"]
    assert 0 < project.resumed_after(TIMED_OUT) <= steps[TIMED_OUT]
    assert_is_whole(project, TIMED_OUT, steps[TIMED_OUT])


def test_a_training_that_is_requeued_goes_on_at_no_attempts_cost(project, steps):
    assert project.ends(REQUEUED) == ["PENDING", "COMPLETED"]  # of one job
    assert len(project.submitted("trainings.txt")[f"train/{REQUEUED}_0"]) == 1
    assert 0 < project.resumed_after(REQUEUED) < steps[REQUEUED]
    assert_is_whole(project, REQUEUED, steps[REQUEUED])


def assert_is_whole(project, variant, num_steps):
    assert json.loads(project.read(f"{RUN.format(variant)}/training.json"))["steps"] == num_steps
    losses = csv.DictReader(project.read(f"{RUN.format(variant)}/losses.csv").splitlines())
    expected = [*range(100, num_steps, 100), num_steps]
    assert [int(row["step"]) for row in losses] == expected


def test_no_attempt_takes_another_for_alive(project, steps):
    logs = [project.folder / "trainings.txt"]
    logs += (project.folder / ".snakemake/slurm_logs").rglob("*.log")
    assert len(logs) > 1
    assert not [log for log in logs if "at work" in log.read_text()]


def test_what_slurm_has_made_is_made(project, steps):
    made = [*FINISHED, f"{RUN.format(TIMED_OUT)}/training.json"]
    said = project.run("dry.txt", *made, options=("--dry-run", *HERE))
    assert "Nothing to be done" in said


def test_a_request_that_no_node_can_meet_fails_in_slurms_own_words(project):
    options = (*ON_SLURM, "--retries", "0", "--set-resources", "train:gpu=64")
    target = f"{RUN.format(UNPLACED)}/training.json"
    assert project.start("unplaced.txt", target, options=options).wait() == 1
    assert "Requested node configuration is not available" in project.read("unplaced.txt")
