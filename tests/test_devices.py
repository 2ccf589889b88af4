"""GPU leases between processes, and GPUs that cannot be used; only names of devices are needed."""

import os
import select
import subprocess
import sys

import pytest
import torch
from subjects import ROOT

from slimdit.compute import devices
from slimdit.compute.devices import device
from slimdit.core.errors import InputError
from slimdit.jobs.gpu_lease import leased_gpus, visible_devices
from slimdit.jobs.launch import in_own_process

HOLDER = """
import os, sys
from slimdit.jobs.gpu_lease import leased_gpus
with leased_gpus(int(sys.argv[2]), sys.argv[1]) as devices:
    print(",".join(devices), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def start(tmp_path):
    """Starts a process that leases GPUs and holds them until its stdin ends."""
    processes = []

    def begin(count=1):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "locks"), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts")},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def leased(process):
    """What the process holds; waits until it holds something, though not for ever."""
    assert select.select([process.stdout], [], [], 30.0)[0]
    held, visible = process.stdout.readline().split()
    assert held == visible
    return set(held.split(","))


def is_waiting(process, timeout_s=1.0):
    os.set_blocking(process.stdout.fileno(), False)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return not process.stdout.readline()
    finally:
        os.set_blocking(process.stdout.fileno(), True)
    return False


def test_processes_get_different_devices_and_a_third_waits(start):
    first, second = start(), start()
    devices = leased(first), leased(second)
    assert set.union(*devices) == {"0", "1"}
    third = start()
    assert is_waiting(third)
    first.communicate("\n")
    assert leased(third) == devices[0]


def test_killed_holder_frees_its_devices(start):
    holder = start(2)
    assert leased(holder) == {"0", "1"}
    waiter = start(2)
    assert is_waiting(waiter)
    holder.kill()
    assert leased(waiter) == {"0", "1"}


def test_a_job_that_wants_all_does_not_hold_some_while_it_waits(start):
    holder = start()
    leased(holder)
    greedy = start(2)
    assert is_waiting(greedy)
    assert len(leased(start())) == 1


def test_asking_for_more_than_there_are_takes_all(tmp_path):
    with leased_gpus(5, tmp_path) as devices:
        assert devices == ["0", "1"]


def test_a_fresh_process_sees_the_devices_of_its_job(tmp_path):
    with leased_gpus(1, tmp_path) as devices:
        assert [in_own_process(os.getenv, "CUDA_VISIBLE_DEVICES")] == devices


def test_devices_are_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), leased_gpus(1, tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        raise RuntimeError
    with leased_gpus(1, tmp_path) as devices:
        assert devices == ["0"]


def test_a_file_system_without_locks_is_told_of(tmp_path, caplog):
    """Here the lock's place is taken by a folder."""
    (tmp_path / "0.lock").mkdir()
    with leased_gpus(1, tmp_path) as devices:
        assert devices == ["0"] and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    (message,) = caplog.messages
    assert "gives no lock" in message
    assert message.endswith("let one job at a time use the GPUs, with --resources gpu=1.")


def assert_nothing_is_held(count, lock_dir):
    with leased_gpus(count, lock_dir / "locks") as devices:
        assert devices == []
    assert not (lock_dir / "locks").exists()


def test_without_gpus_nothing_is_held(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert_nothing_is_held(1, tmp_path)


def test_without_nvidia_smi_nothing_is_held_and_cuda_finds_what_it_can(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_nothing_is_held(1, tmp_path)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("hidden", ["-1", "-1,0", "NoDevFiles", ""])
def test_gpus_that_are_hidden_are_none(monkeypatch, tmp_path, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert_nothing_is_held(1, tmp_path)
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    (tmp_path / "version").write_text("Kernel Module  535.104.05")
    assert device().type == "cpu"


LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d2c9a7e-1111-4b1e-8d8e-d4d1b3f4a001)
  MIG 3g.40gb     Device  0: (UUID: MIG-1d0a4b52-2222-5c4e-9c47-16a4a3c9b001)
  MIG 3g.40gb     Device  1: (UUID: MIG-1d0a4b52-2222-5c4e-9c47-16a4a3c9b002)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5d2c9a7e-1111-4b1e-8d8e-d4d1b3f4a002)
"""


def test_devices_have_names_that_no_order_changes_and_parts_are_devices(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat << END\n{LISTING}END\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    mig = "MIG-1d0a4b52-2222-5c4e-9c47-16a4a3c9b00"
    assert visible_devices() == [f"{mig}1", f"{mig}2", "GPU-5d2c9a7e-1111-4b1e-8d8e-d4d1b3f4a002"]


def test_jobs_that_share_an_allocation_of_slurm_get_different_devices(monkeypatch, start, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first, second = start(), start()
    assert leased(first) | leased(second) == {"0", "1"}
    monkeypatch.setenv("SLURM_JOB_ID", "8")  # on another node: devices have the same names
    assert leased(start(1)) == {"0"}


def test_slurm_has_already_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with leased_gpus(2, tmp_path / "locks") as devices:
        assert devices == ["0", "1"]
    assert not (tmp_path / "locks").exists()


def test_a_job_without_gpus_holds_and_sees_none(tmp_path):
    assert_nothing_is_held(0, tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_driver_that_is_too_old_is_told(monkeypatch, tmp_path):
    """With a GPU that was leased; without one the CPU computes."""
    driver = tmp_path / "version"
    monkeypatch.setattr(devices, "DRIVER", driver)
    assert device().type == "cpu"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n")
    with pytest.raises(InputError, match=r"cannot use the GPU 0, 1 of driver 535\.104\.05; up"):
        device()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device().type == "cpu"


@pytest.mark.parametrize(
    ("capability", "is_refused"), [((7, 0), True), ((7, 5), False), ((12, 0), False)]
)
def test_a_gpu_older_than_torchs_kernels_is_told(monkeypatch, capability, is_refused):
    for name, value in {
        "is_available": True,
        "get_arch_list": ["sm_75", "sm_80", "sm_90a", "compute_120"],
        "get_device_capability": capability,
        "get_device_name": "Tesla V100",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    if is_refused:
        with pytest.raises(InputError, match=r"cannot use Tesla V100 of compute capability 7\.0;"):
            device()
    else:
        assert device() == torch.device("cuda", 0)
