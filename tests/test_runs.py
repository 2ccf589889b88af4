"""Locks of runs and jobs: those of the dead are lifted, those of the living respected."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kill_study import start

from slimdit.jobs.locks import sole_process
from slimdit.jobs.snakemake_lock import LOCKS, RUNS, lift_stale_locks, live_runs, register_run

REGISTER = (
    "from slimdit.jobs.snakemake_lock import register_run; "
    "register_run(); print(flush=True); input()"
)
SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"


@pytest.fixture
def locked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOCKS.mkdir(parents=True)
    (LOCKS / "0.output.lock").write_text("results/table.csv\n")
    return LOCKS / "0.output.lock"


@pytest.fixture
def other_run(locked):
    """A process of its own that has noted itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", REGISTER],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_the_lock_of_a_killed_run_is_lifted(locked, other_run):
    other_run.kill()
    os.waitid(os.P_PID, other_run.pid, os.WEXITED | os.WNOWAIT)  # dead, and its parent busy
    lift_stale_locks()
    assert not locked.exists() and not list(RUNS.iterdir())


def test_the_lock_of_a_living_run_stays(locked, other_run):
    lift_stale_locks()
    assert locked.exists()
    assert live_runs() == [f"{other_run.pid} on {socket.gethostname()}"]


def test_a_run_that_ends_is_noted_no_more(locked, other_run):
    assert len(list(RUNS.iterdir())) == 1
    other_run.communicate(b"\n")
    assert not list(RUNS.iterdir())


@pytest.mark.parametrize("names", [["another-machine-1.lock"], []])
def test_a_lock_whose_owner_cannot_be_seen_stays(locked, names):
    RUNS.mkdir()
    for name in names:
        (RUNS / name).touch()
    register_run()
    lift_stale_locks()
    assert locked.exists()


def test_on_a_file_system_without_locks_nobody_is_noted(locked, monkeypatch):
    def refuse(path):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("slimdit.jobs.snakemake_lock.try_lock", refuse)
    register_run()
    lift_stale_locks()
    assert locked.exists() and not list(RUNS.iterdir())


def test_a_process_that_got_a_dead_ones_number_is_another(locked):
    RUNS.mkdir()
    (RUNS / f"{socket.gethostname()}-{os.getppid()}.lock").touch()
    lift_stale_locks()
    assert not locked.exists()


def test_two_processes_do_the_same_job_one_after_the_other(tmp_path, capsys):
    hold = (
        "import sys, time\nfrom slimdit.jobs.locks import sole_process\n"
        "with sole_process('logs/train/a.log', sys.argv[1]):\n    print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    with sole_process("logs/train/b.log", tmp_path):
        assert capsys.readouterr().err == ""
    ended = threading.Timer(0.2, process.kill)
    ended.start()
    with sole_process("logs/train/a.log", tmp_path):
        assert process.wait(timeout=1) == -signal.SIGKILL
    host = socket.gethostname()
    message = f"logs/train/a.log: waits for process {process.pid} on {host}, at work on it too."
    assert capsys.readouterr().err.splitlines() == [message]


def test_a_second_run_in_the_folder_is_told_of_the_first(tmp_path):
    first = start(tmp_path)
    try:
        while not list((tmp_path / LOCKS).glob("*.lock")):
            assert first.poll() is None
            time.sleep(0.1)
        second = start(tmp_path)
        assert second.wait() == 1
        log = (tmp_path / "snakemake.log").read_text()
        assert f"as process {first.pid} on {socket.gethostname()} too" in log
        assert "cannot be locked" in log
        assert first.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
