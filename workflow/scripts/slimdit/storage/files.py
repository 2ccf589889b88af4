"""Files that are either whole or not there."""

import contextlib
import csv
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open

from slimdit.core.errors import InputError
from slimdit.storage.courtesies import make_public, sync_file, sync_folder

TEMPORARY = ".tmp"
HEADER = "slimdit"  # of a checkpoint: its key, the only one, since several come in no fixed order


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and rename it to `path`."""
    path = Path(path)
    with temporary_path(path.parent, path.name, path.suffix) as temporary:
        yield temporary
        move_into_place(temporary, path)


@contextlib.contextmanager
def temporary_path(folder: Path, name: str, suffix: str = "") -> Iterator[Path]:
    """Yield a path in `folder` where nothing lies, neither now, though a process was killed that
    wrote there, nor afterwards.

    One process at a time may write `name`. suffix: how the path ends, for writers that go by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}{TEMPORARY}{suffix}"
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename within a folder, with the file and its name on disk before this returns, readable by
    those whom the umask lets."""
    with open(temporary, "rb+") as file:
        make_public(file)
        sync_file(file)
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value, *, sort_keys: bool = True) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=sort_keys, allow_nan=False) + "\n")


def read_json(path: str | Path):
    """Raises InputError when the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be a JSON file.") from None
    except ValueError as error:
        raise InputError(
            f"{path} is not valid JSON ({error}); delete it to make it anew."
        ) from None


def write_csv(path: str | Path, columns: list[str], rows: list[dict]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Write uncompressed; equal arrays give equal bytes (members carry no clock time)."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def load_npz(path: str | Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read every array of the file, or those of `names`, into memory; raises InputError when it is
    missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = archive.files if names is None else names
            return {name: archive[name] for name in archive.files if name in wanted}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be an .npz file.") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, TypeError) as error:
        raise InputError(
            f"{path} is not an .npz file of plain arrays ({error}); make or download it again."
        ) from None


def read_header(path: str | Path):
    """The JSON value that a checkpoint holds beside its tensors.

    Raises SafetensorError, OSError, KeyError or ValueError where the file is none.
    """
    with safe_open(path, "np") as file:
        return json.loads((file.metadata() or {})[HEADER])


def sha256_of(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
