"""Images in what the package `datasets` saves, and what cannot be used."""

import errno
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from test_bad_data import encoded, select

from slimdit.core.errors import InputError
from slimdit.data.hf_dataset import load, parquet_files
from slimdit.data.images import image_array
from slimdit.data.sources import image_source
from slimdit.data.subset import read_image
from slimdit.storage.files import write_json
from slimdit.verify import Verification

datasets = pytest.importorskip("datasets")
CLASSES = ["bee", "ant"]
BYTES = [encoded(f"row {i}") for i in range(20)]
ROWS = {
    "id": list(range(20)),
    "picture": [{"bytes": content, "path": None} for content in BYTES],
    "kind": [i % 2 for i in range(20)],
}
FEATURES = {
    "id": datasets.Value("int64"),
    "picture": datasets.Image(),
    "kind": datasets.ClassLabel(names=CLASSES),
}


def dataset(rows=None, **features):
    every = FEATURES | features
    rows = ROWS | (rows or {})
    columns = {name: rows.get(name, rows["picture"]) for name in every}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(every))


@pytest.fixture
def root(tmp_path):
    dataset().save_to_disk(tmp_path / "images")
    return tmp_path / "images"


def test_rows_are_images_of_the_classes_that_labels_name(root):
    classes = image_source(root).classes()
    assert list(classes) == ["ant", "bee"]
    assert classes["bee"] == [f"row-{i}" for i in range(0, 20, 2)]
    assert [image_source(root).read(f"row-{i}") for i in range(20)] == BYTES


def test_labels_may_be_text_and_missing(tmp_path):
    kinds = ["ant" if i % 2 else None for i in range(20)]
    dataset({"kind": kinds}, kind=datasets.Value("string")).save_to_disk(tmp_path)
    assert image_source(tmp_path).classes() == {"ant": [f"row-{i}" for i in range(1, 20, 2)]}


def test_images_may_be_files_that_rows_name(root, tmp_path):
    (tmp_path / "a.png").write_bytes(BYTES[0])
    source = image_source(root)
    source.dataset = [{"picture": {"bytes": None, "path": str(tmp_path / "a.png")}}]
    assert source.read("row-0") == BYTES[0]


def test_a_folder_of_parquet_files_is_a_dataset(root, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "parquet"
    for i in range(2):
        dataset().select(range(10 * i, 10 * i + 10)).to_parquet(folder / f"train-{i}-of-2.parquet")
    assert image_source(folder).classes() == image_source(root).classes()
    assert image_source(folder).read("row-13") == BYTES[13]
    dataset().to_parquet(folder / "test-0-of-1.parquet")
    with pytest.raises(InputError, match=r"parquet files of several splits \(test, train\)"):
        image_source.__wrapped__(folder)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["part.0", "part.1"], None),
        (["0000", "0001"], None),
        (["train-00000-of-00002", "train-00001-of-00002"], None),
        (["imagenet_train_0", "imagenet_train_1"], None),
        (["0000", "validation"], None),
        (["Train", "val"], "train, val"),
        (["photos-dev.0", "photos-test.0"], "dev, test"),
    ],
)
def test_files_are_of_several_splits_by_the_names_of_splits_alone(tmp_path, names, splits):
    for name in names:
        (tmp_path / f"{name}.parquet").touch()
    if splits is None:
        assert parquet_files(tmp_path) == sorted(str(tmp_path / f"{n}.parquet") for n in names)
        return
    with pytest.raises(InputError, match=rf"several splits \({splits}\)"):
        parquet_files(tmp_path)


def test_rows_are_refused_or_skipped_as_files_are(tmp_path):
    bad = {3: b"", 4: BYTES[0][:40], 6: BYTES[0]}
    pictures = [{"bytes": bad.get(i, content), "path": None} for i, content in enumerate(BYTES)]
    pictures[5] = None
    dataset({"picture": pictures}).save_to_disk(tmp_path / "images")
    change = {"max_images_per_class": 5, "min_images_per_class": 3}
    with pytest.raises(InputError, match=r"of 14 images drawn cannot be used: row-\d \("):
        select(tmp_path / "images", tmp_path, **change)
    rows, found, _ = select(tmp_path / "images", tmp_path, **change, bad_images="skip")
    assert len(rows) == 14
    assert {row["path"] for row in found} <= {"row-0", "row-3", "row-4", "row-5", "row-6"}
    for row in rows:
        content = BYTES[int(row["path"].removeprefix("row-"))]
        expected = image_array(content, 12, "here")
        assert np.array_equal(read_image(row, tmp_path / "images", 12), expected)


def test_another_dataset_in_the_place_of_the_selected_is_noticed(root, tmp_path):
    rows, _, _ = select(root, tmp_path)
    others = [{"bytes": encoded(f"other {i}"), "path": None} for i in range(3)]
    dataset({"picture": others, "id": [0, 1, 2], "kind": [0, 1, 1]}).save_to_disk(tmp_path / "new")
    for row in rows:
        with pytest.raises(InputError, match=r"row-\d+ is not the image .* \(its sha256|\(there"):
            read_image(row, tmp_path / "new", 12)


def test_verification_checks_rows(root, tmp_path):
    rows, _, _ = select(root, tmp_path)
    text = (tmp_path / "subset.csv").read_text()
    study = tmp_path / "study"
    (study / "data").mkdir(parents=True)
    (study / "data/subset.csv").write_text(text.replace(rows[0]["sha256"], "0" * 64))
    verification = Verification(study)
    verification.read_images(SimpleNamespace(config={"data": {"images": str(root)}}))
    found = [verification.is_as_recorded(path) for path in verification.recorded]
    assert found == [False] + [True] * (len(rows) - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda root: datasets.DatasetDict(train=dataset(), test=dataset()).save_to_disk(root),
            r"holds the splits train, test; name the folder of one, such as .*/images/train\.",
        ),
        (
            lambda root: dataset(other=datasets.Image()).save_to_disk(root),
            r"has 2 columns of Image \(id: Value, picture: Image, kind: ClassLabel, other: Image\)",
        ),
        (
            lambda root: dataset().remove_columns("picture").save_to_disk(root),
            "has no columns of Image",
        ),
        (
            lambda root: dataset().remove_columns("kind").save_to_disk(root),
            "has no columns of ClassLabel or text",
        ),
        (
            lambda root: dataset(kind=datasets.ClassLabel(names=["a\nb", "c"])).save_to_disk(root),
            "does not have a name on one line",
        ),
        (
            lambda root: (root.mkdir(), write_json(root / "state.json", {})),
            "has not both of dataset_info.json and state.json",
        ),
        (
            lambda root: (
                dataset().save_to_disk(root),
                next(root.glob("*.arrow")).write_bytes(b"no arrow"),
            ),
            "cannot be read as a dataset",
        ),
        (
            lambda root: (root.mkdir(), (root / "train.parquet").write_bytes(b"no parquet")),
            "cannot be read as a dataset",
        ),
    ],
)
def test_what_cannot_be_used_is_an_input_error(tmp_path, make, message, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    make(tmp_path / "images")
    with pytest.raises(InputError, match=message) as error:
        image_source(tmp_path / "images").classes()
    assert str(error.value).isprintable()


def test_without_the_package_the_message_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"not installed; install requirements-datasets\.txt"):
        image_source.__wrapped__(root)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        (OSError(errno.EROFS, "Read-only file system", "/home/x.lock"), "Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/x"), "Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "No such file"),
        (OSError("Not enough disk space. Needed: 9 GB"), "Not enough disk space"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("depth", [0, 2])
def test_a_cache_that_cannot_be_written_is_told_as_that(
    tmp_path, monkeypatch, fault, reason, depth
):
    def from_parquet(files):
        error = fault
        for _ in range(depth):
            outer = RuntimeError("An error occurred while generating the dataset")
            outer.__cause__, error = error, outer
        raise error

    (tmp_path / "train.parquet").touch()
    monkeypatch.setattr(datasets.Dataset, "from_parquet", from_parquet)
    with pytest.raises(InputError, match="cache of the package datasets") as told:
        load(tmp_path, datasets)
    assert reason in str(told.value) and "HF_HOME" in str(told.value)
    assert "save it again" not in str(told.value)


def test_files_without_permission_are_told_as_that(tmp_path, monkeypatch):
    path = tmp_path / "train.parquet"
    path.touch()

    def from_parquet(files):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(datasets.Dataset, "from_parquet", from_parquet)
    with pytest.raises(InputError, match=r"train.parquet cannot be read .*mend its permissions"):
        load(tmp_path, datasets)
