"""Whatever a file system lacks, files are written and read, with one warning of each lack."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from slimdit.data.resumable_array import ResumableArray
from slimdit.jobs.gpu_lease import leased_gpus
from slimdit.jobs.locks import sole_process
from slimdit.storage import courtesies
from slimdit.storage.files import write_json

ANYTHING = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EACCES)
LACKS = {  # what raises, of which files, and the errors that systems are known to give
    "permissions": ("fchmod", lambda mode: True, ANYTHING),
    "sync of folders": ("fsync", stat.S_ISDIR, (*ANYTHING, errno.EIO, errno.EBADF)),
    "sync of files": ("fsync", stat.S_ISREG, ANYTHING),
    "space": ("posix_fallocate", lambda mode: True, (errno.EOPNOTSUPP, errno.EINVAL)),
}
CASES = [(name, number) for name, (*_, numbers) in LACKS.items() for number in numbers]


@pytest.fixture(autouse=True)
def first_time():
    courtesies.warn_of_lack.cache_clear()


def failing(number, of=lambda mode: True):
    def fail(descriptor, *_):
        if of(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    return fail


def filled(folder):
    array = ResumableArray(folder, "key", (5, 2), np.float16)
    array.fill(lambda start, stop: np.full((stop - start, 2), start), 2, "fill", "row")
    return array


def assert_whole(folder):
    for name in "ab":
        write_json(folder / f"{name}.json", 1)
    array = filled(folder)
    assert array.values[:, 0].tolist() == [0, 0, 2, 2, 4]
    array.copy_to(folder / "copy.npy")
    assert np.array_equal(np.load(folder / "copy.npy"), array.values)
    assert ResumableArray(folder, "key", (5, 2), np.float16).done == 5


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_lack_costs_a_courtesy(tmp_path, monkeypatch, caplog, name, number):
    function, of, _ = LACKS[name]
    monkeypatch.setattr(os, function, failing(number, of))
    assert_whole(tmp_path)
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("A file system here ")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_fault_is_no_lack(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", failing(number, stat.S_ISREG))
    with pytest.raises(OSError, match=os.strerror(number)):
        write_json(tmp_path / "a.json", 1)


def test_folders_that_cannot_be_opened_are_not_synced(tmp_path, monkeypatch):
    real = os.open

    def open_file(path, *rest, **options):
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", open_file)
    assert_whole(tmp_path)


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EACCES, errno.EINVAL])
def test_what_cannot_be_mapped_is_read(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "memmap", refuse)
    monkeypatch.setattr("numpy.lib._format_impl.open_memmap", refuse)
    monkeypatch.setattr("numpy.lib.format.open_memmap", refuse)
    assert_whole(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.ENOLCK])
def test_without_locks_jobs_run_and_are_warned(tmp_path, monkeypatch, caplog, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with sole_process("a.log", tmp_path), leased_gpus(1, tmp_path) as devices:
        assert devices == ["0"]
    jobs, gpus = caplog.messages
    assert "gives no lock" in jobs and jobs.endswith("before all jobs of a first have ended.")
    assert gpus.endswith("let one job at a time use the GPUs, with --resources gpu=1.")
