"""What a file system may lack: permissions, syncs, locks, maps. Each lack costs a courtesy, with
one warning in the log, and never the job."""

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Of these a network share, a FUSE or a disk of another system makes use to say that it does not.
LACKING = {getattr(errno, name) for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOTTY")}
LACKING |= {errno.EPERM, errno.EACCES, errno.ENOLCK, errno.ENODEV}

log = logging.getLogger(__name__)


@contextlib.contextmanager
def courtesy(lack: str, cost: str, lacking=frozenset(LACKING)) -> Iterator[None]:
    """What is done within is left undone where the file system lacks it, with a warning."""
    try:
        yield
    except OSError as error:
        if error.errno not in lacking:
            raise
        warn_of_lack(lack, error.strerror, cost)


@functools.cache
def warn_of_lack(lack: str, error: str, cost: str) -> None:
    """Once a process."""
    log.warning("A file system here %s (%s): %s.", lack, error, cost)


def make_public(file) -> None:
    """Readable by those whom the umask lets: safetensors writes for its user alone."""
    umask = os.umask(0)
    os.umask(umask)
    with courtesy("sets no permissions", "files have those that it gives them"):
        os.fchmod(file.fileno(), 0o666 & ~umask)


def sync_file(file) -> None:
    file.flush()
    with courtesy("syncs no files", "what is written may be lost when the power fails"):
        os.fsync(file.fileno())


def sync_folder(folder: str | Path) -> None:
    """The names in it; some systems neither open nor sync a folder."""
    lacking = LACKING | {errno.EIO, errno.EISDIR, errno.EBADF}
    with courtesy(
        "syncs no folders", "a new file's name may be lost when the power fails", lacking
    ):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def claim_space(file, num_bytes: int) -> None:
    """Make the file so large; a disk that is full says so now, where it can."""
    file.truncate(num_bytes)
    file.flush()
    if hasattr(os, "posix_fallocate"):
        with courtesy("reserves no space", "a full disk is found only when it is full"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)


def read_array(path: str | Path):
    """Of an .npy file, not to be written to: its pages, or a copy where files cannot be mapped."""
    import numpy as np  # after a job has set its threads

    with open(path, "rb"):  # a file that cannot be read is no lack
        pass
    with courtesy("maps no files into memory", "arrays are read whole"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return np.load(path, allow_pickle=False)
