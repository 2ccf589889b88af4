"""Files are whole or not there, and damaged ones say so in one sentence."""

import os
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.data.resumable_array import ResumableArray
from slimdit.storage.files import (
    atomic_path,
    load_npz,
    read_csv,
    read_json,
    sha256_of,
    write_csv,
    write_json,
    write_npz,
)


def test_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["result.json"]


def test_write_makes_its_folder_and_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "new" / "array.npy") as temporary:
        assert temporary.suffix == ".npy"
        temporary.write_text("x")
    assert os.listdir(tmp_path / "new") == ["array.npy"]


def test_written_files_have_the_permissions_of_the_umask(tmp_path):
    previous = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
        with atomic_path(tmp_path / "b.safetensors") as temporary:
            save_file({"x": np.zeros(1)}, temporary)
    finally:
        os.umask(previous)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_json_comes_back_and_refuses_what_is_not_json(tmp_path):
    value = {"b": [1, 2.5, None], "a": "ä"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_equal_values_have_equal_canonical_strings():
    assert canonical_json({"b": 1, "a": [True]}) == canonical_json({"a": [True], "b": 1})
    assert canonical_json({"a": 1}) != canonical_json({"a": 1.0})


def test_csv_comes_back_as_text(tmp_path):
    write_csv(tmp_path / "a.csv", ["x", "y"], [{"x": 1, "y": 'a,"b"\nc'}, {"x": "", "y": 2.5}])
    assert read_csv(tmp_path / "a.csv") == [{"x": "1", "y": 'a,"b"\nc'}, {"x": "", "y": "2.5"}]


def test_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"arr_0": np.arange(6, dtype=np.uint8).reshape(2, 3), "names": np.array(["a", "bc"])}
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, **arrays)
    assert sha256_of(tmp_path / "a.npz") == sha256_of(tmp_path / "b.npz")
    loaded = load_npz(tmp_path / "a.npz")
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    assert all(loaded[name].dtype == arrays[name].dtype for name in arrays)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_damaged_npz_is_an_input_error(tmp_path, damage):
    path = tmp_path / "a.npz"
    write_npz(path, arr_0=np.zeros(1000))
    content = {"truncated": path.read_bytes()[:-100], "text": b"no archive", "empty": b""}
    path.write_bytes(content[damage])
    with pytest.raises(InputError, match=r"a\.npz is not an \.npz file of plain arrays"):
        load_npz(path)


def test_pickled_arrays_are_neither_written_nor_read(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "a.npz", arr_0=objects)
    np.savez(tmp_path / "b.npz", arr_0=objects)
    with pytest.raises(InputError, match="plain arrays"):
        load_npz(tmp_path / "b.npz")


@pytest.mark.parametrize("read", [read_json, load_npz])
def test_missing_file_is_an_input_error(tmp_path, read):
    with pytest.raises(InputError, match="absent does not exist"):
        read(tmp_path / "absent")


def test_damaged_json_is_an_input_error(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def fill(array, calls, fail_at=None):
    def make(start, stop):
        calls.append((start, stop))
        if start == fail_at:
            raise RuntimeError
        return np.arange(start, stop)

    array.fill(make, 3, "fill", "row")


def array_in(folder, key="key", shape=(8,)):
    return ResumableArray(folder, key, shape, np.int64)


def test_interrupted_array_goes_on_after_its_last_whole_batch(tmp_path):
    folder, calls = tmp_path / "state", []
    with pytest.raises(RuntimeError):
        fill(array_in(folder), calls, fail_at=3)
    array = array_in(folder)
    assert array.done == 3
    fill(array, calls)
    assert calls == [(0, 3), (3, 6), (3, 6), (6, 8)]
    assert array.values.tolist() == list(range(8))
    array.remove()
    assert not folder.exists()


def test_arrays_of_other_keys_are_left_as_they_are(tmp_path):
    fill(array_in(tmp_path), [])
    assert array_in(tmp_path, "another").done == 0
    assert array_in(tmp_path).done == 8


def flip_bit(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "done"),
    [
        (lambda array: array.journal.unlink(), 0),
        (lambda array: array.path.unlink(), 0),
        (lambda array: array.path.write_bytes(b""), 0),
        (lambda array: np.save(array.path, np.arange(7)), 0),
        (lambda array: np.save(array.path, np.arange(8, dtype=">i8")), 0),
        (lambda array: array.path.write_bytes(array.path.read_bytes()[:-8]), 6),
        (lambda array: flip_bit(array.path, -1), 6),
        (lambda array: flip_bit(array.path, -8 * 4), 3),
        (lambda array: flip_bit(array.path, -8 * 8), 0),
        (lambda array: flip_bit(array.journal, -3), 6),
        (lambda array: array.journal.write_text(array.journal.read_text()[:-4]), 6),
        (lambda array: array.journal.write_text("9 abc\n"), 0),
        (lambda array: array.journal.write_bytes(b"\xff\x00"), 0),
    ],
    ids=[
        *("no journal", "no array", "empty array", "another shape", "another type"),
        *("cut array", "last row", "middle row"),
        *("first row", "journal bit", "cut journal", "more rows", "no text"),
    ],
)
def test_what_is_damaged_is_made_anew(tmp_path, damage, done):
    array = array_in(tmp_path)
    fill(array, [])
    damage(array)
    again, calls = array_in(tmp_path), []
    assert again.done == done
    fill(again, calls)
    assert again.values.tolist() == list(range(8))
    assert array_in(tmp_path).done == 8


def test_what_killed_processes_left_is_cleared_away(tmp_path):
    left_over = tmp_path / ".a.json.tmp.json"
    left_over.write_text("half")
    other = tmp_path / ".b.json.tmp.json"
    other.write_text("of another file")
    write_json(tmp_path / "a.json", 1)
    assert sorted(os.listdir(tmp_path)) == [other.name, "a.json"]


@pytest.mark.parametrize("lack", ["fchmod", "fsync of a folder"])
def test_a_file_system_without_permissions_or_synced_folders_is_written_to(
    tmp_path, monkeypatch, lack
):
    fsync = os.fsync

    def refuse(descriptor, *_):
        if lack == "fchmod" or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, lack.partition(" ")[0], refuse)
    write_json(tmp_path / "result.json", {"new": 1})
    assert read_json(tmp_path / "result.json") == {"new": 1}
