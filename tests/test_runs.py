"""What a run does to its folder before the first job, and jobs that wait for one another."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from subjects import ROOT

from slimdit.core.errors import InputError
from slimdit.jobs.locks import sole_process
from slimdit.jobs.preflight import check_image_folder

SNAKEMAKES_OWN = {".snakemake/iocache/latest.pkl"}  # and empty folders
KEPT = {
    ".snakemake/locks/0.output.lock": "results/tiny/tables/table1.csv\n",
    "results/tiny/logs/train/XS2-base-seed-0.log": "2026-01-01 00:00:00,000 ERROR a loss is nan\n",
    "results/tiny/state/train/XS2-base-seed-0/progress.json": "{}\n",
}


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text(errors="replace") for path in files}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "This was a dry-run"),
        (("--config", "study=/"), "study is '/'"),
        (("--set-resources", "train:gpu=2"), "ask for --resources gpu=2 or more."),
        (
            ("--config", "data={images: results/tiny/logs}"),
            "config: data.images: results/tiny/logs",
        ),
    ],
    ids=["dry run", "bad config", "bad command", "bad folder"],
)
def test_nothing_changes_before_the_first_job(tmp_path, options, expected):
    for name, text in KEPT.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    command = [
        *(sys.executable, "-m", "snakemake", "--dry-run", "--snakefile", ROOT / "Snakefile"),
        *("--directory", tmp_path, "--cores", "1", "--resources", "gpu=1", *options),
        *("--configfile", ROOT / "config.yaml", ROOT / "tests/tiny.yaml"),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert expected in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert {n: text for n, text in contents(tmp_path).items() if n not in SNAKEMAKES_OWN} == KEPT


def test_a_folder_that_the_study_only_reads_is_not_checked(tmp_path):
    (tmp_path / "photo.png").touch()
    check_image_folder({"photos": None, "images": tmp_path})
    with pytest.raises(InputError, match=r"config: data.images"):
        check_image_folder({"photos": {"names": ["brick"]}, "images": tmp_path})


def test_two_processes_do_the_same_job_one_after_the_other(tmp_path, capsys):
    hold = (
        "import sys, time\nfrom slimdit.jobs.locks import sole_process\n"
        "with sole_process('logs/train/a.log', sys.argv[1]):\n    print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")},
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
    message = "logs/train/a.log: waits for another process, at work on it too."
    assert capsys.readouterr().err.splitlines() == [message]


def test_a_job_that_cannot_lock_goes_on(tmp_path, caplog):
    """As on a file system without locks: here the lock's place is taken by a folder."""
    (tmp_path / "a.log.lock").mkdir()
    with sole_process("a.log", tmp_path), sole_process("a.log", tmp_path):
        assert "gives no lock" in caplog.text
    with sole_process("a.log", "/proc/1/nowhere"):
        assert "/proc/1/nowhere" in caplog.text
