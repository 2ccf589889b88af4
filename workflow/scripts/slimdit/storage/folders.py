"""Folders that are whole or not there, and never replace what something else made."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.storage.files import TEMPORARY

MARKER = "made-by-slimdit"  # how the hidden file beside a folder ends


def check_replaceable(folder: str | Path, key: str) -> None:
    """Raises InputError, naming `key`, when what lies at `folder` was not made here.

    Snakemake deletes the folder that a job makes before the job starts: check before that.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not _is_made_or_empty(folder):
        raise InputError(
            f"{key}: {folder} would be replaced, but was not made by this pipeline; "
            "name another folder, remove this one, or set data.photos to null if it is yours."
        )


def _is_made_or_empty(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return _marker(folder).exists() or all(
        name.startswith(".snakemake") for name in os.listdir(folder)
    )


def _marker(folder: Path) -> Path:
    """Beside it: it outlives a deletion of the folder that was cut short."""
    return folder.with_name(f".{folder.name}.{MARKER}")


@contextlib.contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`; on success sync it and rename it to
    `folder`, whose place must be free or held by a folder that was made so.

    One process at a time may make `folder`; what a killed one left is removed.
    """
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}{TEMPORARY}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _marker(folder).touch()
        os.sync()
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
