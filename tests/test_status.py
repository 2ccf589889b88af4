"""What is said of long jobs, from files that are made up and from those of a killed training."""

import dataclasses
import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from subjects import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_job import start_slowly

from slimdit import status
from slimdit.core.text import duration
from slimdit.jobs import heartbeat, progress
from slimdit.jobs.heartbeat import Heartbeat
from slimdit.jobs.progress import Progress
from slimdit.status import WatchedJob, job_status
from slimdit.storage.files import read_csv, write_json
from slimdit.study.jobs import jobs_of
from slimdit.study.load import configured_study
from train import train

NOW_S = 1_800_000_000.0
BEAT = Heartbeat(
    description="train",
    state="running",
    done=500,
    total=2000,
    per_s=2.5,
    shown={"loss": "0.1234"},
    host="node7",
    pid=1,
    slurm_job_id="4711",
)
HERE = {"host": socket.gethostname(), "slurm_job_id": None}
NO_PROCESS = 2**22 + 1  # beyond the largest number of one
SENTENCE = "2027-01-15 08:00:00,000 ERROR The loss is nan; try another.\n"
TRACEBACK = "2027-01-15 08:00:00,000 ERROR Traceback (most recent call last):\n  x\nKeyError: 'y'\n"
WARNING = "2027-01-15 08:00:01,000 WARNING a state is damaged\n"


def watched_job(folder, **changes):
    outputs = tuple(folder / name for name in ("checkpoint.safetensors", "training.json"))
    job = WatchedJob("train A, seed 0", folder / "state", folder / "log", outputs, outputs[1])
    return dataclasses.replace(job, **changes)


def set_age(path, seconds):
    os.utime(path, (NOW_S - seconds,) * 2)


def beat(job, age_s=1.0, **changes):
    dataclasses.replace(BEAT, **changes).write(job.state)
    set_age(job.state / heartbeat.NAME, age_s)


@pytest.mark.parametrize(
    ("changes", "age_s", "state", "note"),
    [
        ({}, 1, "running", ""),
        ({}, 500, "running", ""),  # it may be compiling
        ({}, 720, "stalled", "last sign 12 min ago"),
        ({"state": "finished"}, 30, "running", ""),
        ({"state": "finished"}, 720, "stalled", "last sign 12 min ago"),
        ({"state": "terminated"}, 7200, "stopped", "last sign 2 h 00 min ago"),
        ({"state": "failed"}, 60, "failed", "last sign 1 min ago, without a word in"),
        (HERE | {"pid": os.getpid()}, 1, "running", ""),
        (HERE | {"pid": NO_PROCESS}, 5, "stopped", "last sign 5 s ago"),
        ({"pid": NO_PROCESS}, 5, "running", ""),  # of another machine
        ({"description": "held-out features"}, 1, "running", "held-out features"),
        ({}, -30, "running", ""),
    ],
)
def test_a_heartbeat_says_what_becomes_of_its_job(tmp_path, changes, age_s, state, note):
    job = watched_job(tmp_path)
    beat(job, age_s, **changes)
    found = job_status(job, NOW_S)
    assert found.state == state
    assert found.note.startswith(note) and bool(found.note) == bool(note)
    assert (found.done, found.total, found.loss) == (500, 2000, "0.1234")
    assert found.left_s == (600.0 if state == "running" else None)
    assert ("job 4711" in found.where) == ("host" not in changes)


@pytest.mark.parametrize("per_s", [0.0, float("nan")])
def test_time_left_is_not_known_without_a_speed(tmp_path, per_s):
    job = watched_job(tmp_path)
    beat(job, per_s=per_s)
    assert job_status(job, NOW_S).left_s is None


def test_a_job_without_files_waits(tmp_path):
    found = job_status(watched_job(tmp_path), NOW_S)
    assert (found.state, found.done, found.total) == ("waiting", None, None)


def test_results_say_what_was_done(tmp_path):
    job = watched_job(tmp_path)
    job.outputs[0].touch()
    beat(job, 9000)
    assert job_status(job, NOW_S).state == "stalled"
    report = {"steps": 2000, "final_loss": 0.25, "steps_per_s": 4.0, "wall_s": 500.0}
    write_json(job.outputs[1], report)
    found = job_status(job, NOW_S)
    assert (found.state, found.loss, found.per_s) == ("done", "0.2500", 4.0)
    assert found.note == "wall time 8 min"
    beat(job)
    assert job_status(job, NOW_S).state == "running"  # once more


@pytest.mark.parametrize("report", ["", "{}"])
def test_a_damaged_report_says_nothing(tmp_path, report):
    job = watched_job(tmp_path)
    job.outputs[0].touch()
    job.outputs[1].write_text(report)
    found = job_status(job, NOW_S)
    assert (found.state, found.loss, found.per_s, found.note) == ("done", "", None, "")


@pytest.mark.parametrize("has_beat", [True, False])
@pytest.mark.parametrize(
    ("log", "words"),
    [
        (SENTENCE, "The loss is nan; try another."),
        (WARNING + TRACEBACK, "KeyError: 'y'"),
        (SENTENCE + WARNING, None),
        ("x" * 100_000 + "\n" + SENTENCE, "The loss is nan; try another."),
        ("", None),
    ],
)
def test_a_failure_is_in_the_words_of_the_log(tmp_path, log, words, has_beat):
    job = watched_job(tmp_path)
    job.log.write_text(log)
    if has_beat:
        beat(job, state="failed")
    found = job_status(job, NOW_S)
    assert found.state == ("failed" if words or has_beat else "waiting")
    if words:
        assert found.note == words


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"state": "running"}'),
        json.dumps(dataclasses.asdict(BEAT) | {"more": 1}).encode(),
    ],
)
def test_a_damaged_heartbeat_counts_as_none(tmp_path, content):
    job = watched_job(tmp_path)
    job.state.mkdir()
    (job.state / heartbeat.NAME).write_bytes(content)
    assert Heartbeat.read(job.state) is None
    assert job_status(job, NOW_S).state == "waiting"


def test_progress_beats_at_both_ends_and_between(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "TOLD_EVERY_S", 0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with Progress(3, "train", "step", 1, tmp_path) as bar:
        first = Heartbeat.read(tmp_path)
        bar.update(loss="0.5")
        bar.update()
        second = Heartbeat.read(tmp_path)
    assert (first.state, first.done) == ("running", 1)
    assert (second.state, second.done, second.shown) == ("running", 3, {"loss": "0.5"})
    assert (second.pid, second.slurm_job_id) == (os.getpid(), "42")
    assert Heartbeat.read(tmp_path).state == "finished"
    assert os.listdir(tmp_path) == [heartbeat.NAME]


def test_between_the_ends_a_heartbeat_is_rarely_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Heartbeat, "write", lambda self, folder: written.append(self))
    with Progress(10_000, "train", state=tmp_path) as bar:
        for _ in range(10_000):
            bar.update()
    assert len(written) == 2


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError, "failed"), (SystemExit, "terminated"), (KeyboardInterrupt, "terminated")],
)
def test_progress_says_how_it_ended(tmp_path, error, state):
    with pytest.raises(error), Progress(3, "train", state=tmp_path):
        raise error
    assert Heartbeat.read(tmp_path).state == state


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_a_heartbeat_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch, number):
    beat(watched_job(tmp_path))

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(progress, "TOLD_EVERY_S", 0.0)
    with Progress(3, "train", state=tmp_path / "state") as bar:
        for _ in range(3):
            bar.update()
    assert os.listdir(tmp_path / "state") == [heartbeat.NAME]
    assert Heartbeat.read(tmp_path / "state") == BEAT


def test_a_training_that_stopped_before_it_saved_begins_anew(tmp_path):
    job = watched_job(tmp_path, is_training=True)
    beat(job, state="terminated")
    assert (job_status(job, NOW_S).state, job_status(job, NOW_S).done) == ("stopped", 0)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL], ids=lambda kill: kill.name)
def test_a_killed_training_is_stopped_and_then_done_with_all_its_events(
    tmp_path, job, kill, caplog
):
    arguments = job("S4-base", steps=60, save_every_steps=4)
    watched = watched_job(
        tmp_path,
        state=Path(arguments["state"]),
        outputs=(Path(arguments["checkpoint"]), Path(arguments["report"])),
        report=Path(arguments["report"]),
        is_training=True,
    )
    process = start_slowly(arguments, told_every_s=0.0)
    while process.stdout.readline() != "10\n":
        assert process.poll() is None
    found = job_status(watched, time.time())
    assert found.state == "running" and 9 <= found.done < 60
    assert float(found.loss) > 0 and found.left_s > 0 and found.where == socket.gethostname()
    process.send_signal(kill)
    process.communicate(timeout=60)
    found = job_status(watched, time.time())
    assert found.state == "stopped" and 8 <= found.done < 60
    assert found.note.startswith("last sign")
    time.sleep(1)  # TensorBoard orders event files by the second
    with caplog.at_level(logging.INFO):
        train(**arguments)
    assert f"goes on after step {found.done}\n" in caplog.text
    assert job_status(watched, time.time()).state == "done"
    events = EventAccumulator(arguments["events"], {"scalars": 0}).Reload()
    losses = [(event.step, pytest.approx(event.value)) for event in events.Scalars("loss")]
    rows = read_csv(arguments["losses"])
    assert losses == [(int(row["step"]), float(row["loss"])) for row in rows]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the embedded study's config, where the command is run."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_shows_a_line_for_each_job_and_writes_nothing(folder, capsys):
    overlay = folder / "two.yaml"
    overlay.write_text("study: photos\nseeds: [0, 1]\n")
    BEAT.write("results/photos/state/train/S2-base-seed-1")
    before = sorted(folder.rglob("*"))
    assert status.main(["--configfile", str(overlay)]) == 0
    lines = capsys.readouterr().out.splitlines()
    num_jobs = len(list(jobs_of(configured_study([overlay]))))
    assert lines[0].endswith(f": {num_jobs - 1} waiting, 1 running")
    (row,) = (line for line in lines if line.startswith("train S2-base, seed 1 "))
    assert row.endswith("running  500/2000  0.1234  2.5    10 min  node7 job 4711")
    assert sorted(folder.rglob("*")) == before
    assert all(len(line) <= 100 for line in lines)


def test_parts_of_a_job_are_shown_while_it_is_not_done(folder):
    state = Path("results/photos/state/sample/S4-base-seed-0")
    logs = Path("results/photos/logs/sample/S4-base-seed-0")
    logs.mkdir(parents=True)
    for name in ("10-of-12", "3-of-12", "2-of-12", "1-of-12", "5-of-12"):
        (logs / f"{name}.log").touch()
    (logs / "3-of-12.log").write_text(SENTENCE)
    for name in ("10-of-12", "3-of-12", "2-of-12"):
        BEAT.write(state / name)
    dataclasses.replace(BEAT, state="finished").write(state / "2-of-12")
    for name in ("1-of-12", "2-of-12"):  # the folder of the first is gone
        for suffix in (".npy", ".json"):
            (state / f"{name}{suffix}").touch()
    os.utime(logs / "5-of-12.log", (0, 0))  # of another run, long ago
    found = status.statuses_of(configured_study([]), time.time())
    parts = [each for each in found if each.name.startswith("sample S4-base, seed 0, part")]
    assert [(each.name.rsplit(" ", 1)[1], each.state) for each in parts] == [
        ("1-of-12", "done"),
        ("2-of-12", "done"),
        ("3-of-12", "failed"),
        ("10-of-12", "running"),
    ]


def in_study(name, now_s):
    """The status of one job of the embedded study."""
    (found,) = (
        each for each in status.statuses_of(configured_study([]), now_s) if each.name == name
    )
    return found


@pytest.mark.parametrize(
    ("name", "log", "output"),
    [
        ("measure speed S4-base", "measure_speed/S4-base.log", "S4-base/speed.json"),
        ("count cost S2-shallow", "count_cost/S2-shallow.log", "S2-shallow/architecture.json"),
    ],
)
def test_a_job_without_a_heartbeat_runs_while_its_log_is_fresh(folder, name, log, output):
    log = Path("results/photos/logs", log)
    log.parent.mkdir(parents=True)
    log.touch()
    set_age(log, 60)
    assert in_study(name, NOW_S).state == "running"
    set_age(log, 3600)
    assert in_study(name, NOW_S).state == "waiting"
    log.write_text(SENTENCE)
    assert in_study(name, NOW_S).state == "failed"
    write_json(Path("results/photos/variants", output), {})
    assert in_study(name, NOW_S).state == "done"


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        (None, "no.yaml cannot be read"),
        ("a: [", "is not YAML"),
        ("[]", "holds no keys"),
        ("study: photos\nseeds: none", "config: 1 problem"),
    ],
)
def test_a_bad_config_ends_in_a_sentence(folder, capsys, overlay, sentence):
    path = Path("no.yaml")
    if overlay is not None:
        path.write_text(overlay)
    assert status.main(["--configfile", str(path)]) == 1
    assert sentence in capsys.readouterr().err


def test_the_command_is_quick_for_it_loads_no_torch(folder):
    code = "import sys; from slimdit.status import main; main([]); "
    code += "assert 'torch' not in sys.modules"
    started_s = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert time.monotonic() - started_s < 10  # on a busy machine; alone half a second


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3599, "1 h 00 min"),
        (22620, "6 h 17 min"),
        (86399, "1 d 0 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_in_two_units_at_most(seconds, text):
    assert duration(seconds) == text
