"""A batch in parts and on several processes: the training is that of the whole, to rounding."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from slimdit.errors import InputError
from slimdit.files import read_csv, read_json
from slimdit.processes import Processes, launch, torchrun
from train import train

MIXED = ["S2-med-4", "KD-XS2", "MoE-XS2-8E2A"]  # plain, taught, routed


def processes(rank, size):
    one = Processes()
    one.rank, one.size = rank, size
    return one


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch_size", [None, 1, 4, 5, 100])
def test_parts_cover_the_batch_once_and_none_is_too_long(size, micro_batch_size):
    parts = [processes(rank, size).parts(24, micro_batch_size) for rank in range(size)]
    rows = [row for own in parts for part in own for row in range(24)[part]]
    assert rows == list(range(24))
    lengths = [part.stop - part.start for own in parts for part in own]
    assert max(lengths) <= (micro_batch_size or 24)
    assert len({len(own) for own in parts}) == 1


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match="batch_size 16 cannot be shared equally by 3 GPUs"):
        processes(0, 3).parts(16, None)


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


def on_two(arguments, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    launch("train", arguments, arguments["state"], f"{arguments['state']}.log", devices=2)


@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_two_processes_train_as_one(job, micro_batch_size, monkeypatch):
    """A taught mixture has every term; each process writes nothing but what one would."""
    variant = "MoE-XS2-8E2A"
    one, two = job(variant, "one"), job(variant, "two", micro_batch_size=micro_batch_size)
    train(**one)
    on_two(two, monkeypatch)
    assert_nearly_the_same_training(one, two)
    assert read_json(two["report"])["origin"]["processes"] == 2


LAUNCH = """
import json, sys
from slimdit.processes import launch
launch("train", json.loads(sys.argv[1]), *sys.argv[2:], devices=2)
"""


def test_two_processes_that_are_terminated_save_and_one_goes_on(job, tmp_path):
    broken = job("S2-base", "broken", save_every_steps=1000, steps=60)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
    running = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, json.dumps(broken), broken["state"], str(tmp_path / "log")],
        env=environment,
    )
    while not list(tmp_path.glob("broken/events/*")):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 1
    (saved,) = tmp_path.glob("broken/state/*.safetensors")
    assert 0 < int(saved.stem.split("-")[1]) < 60

    train(**broken)
    unbroken = job("S2-base", "unbroken", steps=60)
    train(**unbroken)
    assert_nearly_the_same_losses(unbroken, broken)


def test_an_error_of_every_process_is_in_the_log_once_told(job, tmp_path, monkeypatch, capfd):
    arguments = job("S2-base", batch_size=3)
    with pytest.raises(SystemExit, match="says why"):
        on_two(arguments, monkeypatch)
    told = "batch_size 3 cannot be shared equally by 2 GPUs"
    assert capfd.readouterr().err.count(told) == 1


def test_nodes_of_a_slurm_job_start_one_torchrun_each(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    command = " ".join(torchrun(4, nodes=2))
    assert command.startswith("srun --overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 ")
    assert "--nproc-per-node=4 --nnodes=2 --rdzv-backend=c10d" in command
    assert command.endswith("--rdzv-id=7")
