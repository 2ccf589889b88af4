"""A batch in parts and on several processes: the training is that of the whole, to rounding."""

import json
import math
import os
import re
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from slimdit.compute.process_group import Processes
from slimdit.core.errors import InputError
from slimdit.jobs.launch import in_own_process, run_on
from slimdit.storage.files import read_csv, read_json
from slimdit.training.objective import parts_of
from train import train

MIXED = ["S2-med-4", "KD-XS2", "MoE-XS2-8E2A"]  # plain, taught, routed


def processes(rank, size):
    one = Processes()
    one.rank, one.size = rank, size
    return one


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch_size", [None, 1, 4, 5, 100])
def test_parts_cover_the_batch_once_and_none_is_too_long(size, micro_batch_size):
    rows = [processes(rank, size).rows(24) for rank in range(size)]
    parts = [[own[part] for part in parts_of(len(own), micro_batch_size)] for own in rows]
    assert [row for own in parts for part in own for row in part] == list(range(24))
    assert max(len(part) for own in parts for part in own) <= (micro_batch_size or 24)
    assert len({len(own) for own in parts}) == 1


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="batch_size 16 cannot be shared equally by 3 GPUs"):
        processes(0, 3).rows(16)


def test_parts_of_gpus_train_one_by_one():
    with pytest.raises(InputError, match="MIG-1 and MIG-2 are parts of GPUs"):
        run_on(["MIG-1", "MIG-2"], print, {}, "")


def assert_nearly_the_same_losses(one, other):
    for expected, actual in zip(read_csv(one["losses"]), read_csv(other["losses"]), strict=True):
        assert expected.keys() == actual.keys()
        for term, value in expected.items():
            assert value == actual[term] or float(value) == pytest.approx(float(actual[term]), 1e-4)


def assert_nearly_the_same_training(one, other):
    assert_nearly_the_same_losses(one, other)
    expected, actual = load_file(one["checkpoint"]), load_file(other["checkpoint"])
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    loads = [read_json(arguments["report"])["expert_load"] for arguments in (one, other)]
    assert loads[0] == loads[1] or torch.allclose(*(torch.tensor(x["load"]) for x in loads))


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3])
@pytest.mark.parametrize("variant", MIXED)
def test_a_batch_in_parts_trains_as_the_whole(job, variant, micro_batch_size):
    whole, parts = job(variant, "whole"), job(variant, "parts", micro_batch_size=micro_batch_size)
    train(**whole)
    train(**parts)
    assert_nearly_the_same_training(whole, parts)


LAUNCH = """
import json, logging, sys
from slimdit.compute.process_group import Processes
from slimdit.jobs.launch import run_on
from slimdit.training.objective import Objective
from train import train

def failing_train(**arguments):
    call = Objective.__call__

    def fail(self, step):
        if Processes().rank == 1 and step == 3:
            raise MemoryError
        return call(self, step)

    Objective.__call__ = fail
    train(**arguments)

if __name__ == "__main__":
    logging.basicConfig(filename=sys.argv[3], level=logging.INFO)
    run_on(["0", "1"], globals()[sys.argv[1]], json.loads(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture
def start(tmp_path):
    """Starts a training on two devices as the rule's script does."""
    started = []
    script = tmp_path / "script.py"
    script.write_text(LAUNCH)

    def start(arguments, function="train"):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
        command = [sys.executable, script, function, json.dumps(arguments), tmp_path / "log"]
        started.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_until_saved(folder, process, count=1):
    while len(list(folder.glob("state/*.safetensors"))) < count:
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_two_processes_train_as_one_and_write_what_one_writes(
    job, tmp_path, start, micro_batch_size
):
    """A taught mixture has every term."""
    variant = "MoE-XS2-8E2A"
    one, two = job(variant, "one"), job(variant, "two", micro_batch_size=micro_batch_size)
    train(**one)
    assert start(two).wait() == 0
    assert_nearly_the_same_training(one, two)
    assert read_json(two["report"])["origin"]["processes"] == 2

    def written(run):  # folders of its files
        files = [path for path in (tmp_path / run).rglob("*") if path.is_file()]
        return sorted(path.parent.relative_to(tmp_path / run) for path in files)

    assert written("two") == written("one")


def test_two_processes_that_are_terminated_save_and_one_goes_on(job, tmp_path, start):
    broken = job("S2-base", "broken", save_every_steps=1, steps=60)
    running = start(broken)
    wait_until_saved(tmp_path / "broken", running)
    running.terminate()
    _, words = running.communicate(timeout=60)
    assert running.returncode == 1
    assert re.fullmatch(r"Terminated: saved at step \d+, the next start goes on.\n", words)
    train(**broken)
    unbroken = job("S2-base", "unbroken", steps=60)
    train(**unbroken)
    assert_nearly_the_same_losses(unbroken, broken)


def test_processes_end_with_the_one_that_started_them(job, tmp_path, start):
    running = start(job("S2-base", "killed", save_every_steps=1, steps=100_000))
    wait_until_saved(tmp_path / "killed", running, count=2)
    running.kill()
    running.wait()
    time.sleep(1)
    states = {path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/state/*")}
    time.sleep(2)
    assert states == {path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/state/*")}


FRESH = """
import os, sys, time
from pathlib import Path
from slimdit.jobs.launch import in_own_process, run_on

def wait(path):
    Path(path).write_text(str(os.getpid()))
    Path(path).rename(f"{path}.whole")
    time.sleep(600)

if __name__ == "__main__":
    in_own_process(wait, sys.argv[1])
"""


def test_a_fresh_process_ends_with_the_one_that_started_it(tmp_path):
    script, pid = tmp_path / "script.py", tmp_path / "pid.whole"
    script.write_text(FRESH)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, script, tmp_path / "pid"], env=environment)
    while not pid.exists():
        assert parent.poll() is None
        time.sleep(0.05)
    child = psutil.Process(int(pid.read_text()))
    parent.kill()
    parent.wait()
    child.wait(timeout=60)


def test_an_error_of_a_fresh_process_is_raised_by_the_one_that_started_it():
    with pytest.raises(ValueError, match="math domain error"):
        in_own_process(math.sqrt, -1)


def test_an_error_of_every_process_is_told_once(job, start):
    _, words = start(job("S2-base", batch_size=3)).communicate(timeout=60)
    assert words.count("batch_size 3 cannot be shared equally by 2 GPUs") == 1


def test_an_error_of_one_process_ends_both_in_its_words(job, start):
    arguments = job("S2-base", steps=1000)
    _, words = start(arguments, "failing_train").communicate(timeout=60)
    assert "Step 4 does not fit in memory" in words
    assert "Connection" not in words


def test_processes_that_are_killed_are_told_of(job, tmp_path, start):
    running = start(job("S2-base", "killed", save_every_steps=1, steps=100_000))
    wait_until_saved(tmp_path / "killed", running)
    for process in psutil.Process(running.pid).children():
        if "--multiprocessing-fork" in process.cmdline():
            process.kill()
    _, words = running.communicate(timeout=60)
    assert running.returncode == 1
    assert words == "train: its processes were killed.\n"
