"""A machine that fails: one sentence, and nothing lost."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from slimdit.core.errors import InputError
from slimdit.data.resumable_array import ResumableArray
from slimdit.jobs.failures import explain
from slimdit.jobs.job_log import error_summary
from slimdit.storage.files import write_json, write_npz

ROOT = Path(__file__).parents[1]
TARGET = "results/tiny/data/latents.json"


def mount(path, *options):
    return subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], capture_output=True
    )


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 200 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or mount(folder, "-o", "size=200k").returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def resize(disk, options):
    assert mount(disk, "-o", f"remount,{options}").returncode == 0


def new_array(folder):
    ResumableArray(folder, "key", (10**6,), np.uint8)


WRITERS = {
    "array": new_array,
    "json": lambda folder: write_json(folder / "new.json", "x" * 10**6),
    "npz": lambda folder: write_npz(folder / "new.npz", x=np.zeros(10**6, np.uint8)),
    "safetensors": lambda folder: save_file({"x": torch.zeros(10**6)}, folder / "new.safetensors"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(disk, write):
    write_json(disk / "old.json", {"old": 1})
    with pytest.raises(Exception) as caught:
        write(disk)
    assert "There is no space left for" in explain(caught.value)
    assert (disk / "old.json").read_text() == '{\n "old": 1\n}\n'


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "no space left for a.npz"),
        (OSError(errno.EROFS, "Read-only file system", "b.npz"), "b.npz cannot be accessed"),
        (PermissionError(errno.EACCES, "Permission denied", "c"), "c cannot be accessed"),
        (MemoryError(), "does not fit in memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), "does not fit in memory"),
    ],
)
def test_a_fault_is_one_sentence(error, expected):
    text = explain(error)
    assert expected in text and text.endswith("the same command goes on from there.")
    assert "\n" not in text


def test_bad_input_speaks_for_itself():
    refused = RuntimeError(
        "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you "
        "set 'torch.use_deterministic_algorithms(True)'."
    )
    assert "but adaptive_avg_pool2d_backward_cuda has no deterministic form" in explain(refused)
    assert explain(InputError("a.json is not valid JSON.")) == "a.json is not valid JSON."


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), KeyError("x"), RuntimeError("x")])
def test_an_error_of_ours_is_no_fault_of_the_machine(error):
    assert explain(error) is None


STAMP = "2026-01-01 00:00:00,000"


def test_the_errors_of_a_study_are_those_that_its_logs_end_with(tmp_path):
    logs = {
        "train/a.log": f"{STAMP} INFO 1/2\n{STAMP} ERROR The loss is nan.\n",
        "train/b.log": f"{STAMP} ERROR The loss is nan.\n{STAMP} INFO goes on\n",
        "c.log": f'{STAMP} ERROR Traceback (most recent call last):\n  File "x"\nKeyError: 1\n',
        "d.log": "",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert error_summary(tmp_path).splitlines() == [
        f"{tmp_path}/c.log: KeyError: 1",
        f"{tmp_path}/train/a.log: The loss is nan.",
    ]
    assert error_summary(tmp_path / "absent") == ""


def run_study(folder, *overlays):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1", "--configfile"),
        *(ROOT / "config.yaml", ROOT / "tests/tiny.yaml", *overlays, "--", TARGET),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_study_goes_on_when_its_disk_has_room_again(disk):
    folder = disk.parent
    (folder / "results").symlink_to(disk)
    resize(disk, "size=600k")
    full = run_study(folder)
    assert full.returncode == 1
    assert "There is no space left" in full.stderr
    assert "Traceback" not in full.stderr
    resize(disk, "size=100m,ro")
    read_only = run_study(folder)
    assert read_only.returncode == 1
    assert "Read-only file system" in read_only.stderr
    resize(disk, "size=100m,rw")
    again = run_study(folder)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Cutting an image folder" not in again.stderr  # it was done


def test_the_console_ends_with_the_reason_of_a_failure(tmp_path):
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "images/cat/1.png").write_text("not an image")
    own_images = tmp_path / "own_images.yaml"
    own_images.write_text("data: {photos: null, images: images}")
    run = run_study(tmp_path, own_images)
    assert run.returncode == 1
    last = run.stderr.partition("Logs that end with an error:\n")[2]
    assert last.startswith("results/tiny/logs/select_subset.log: data.num_classes is 3, but only 0")
