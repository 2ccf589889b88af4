"""Whether a study's files are what its records say: python -m slimdit.verify results/photos."""

import argparse
import csv
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from safetensors import SafetensorError, safe_open

from slimdit.core.errors import InputError
from slimdit.data.hf_dataset import SavedDataset, is_dataset
from slimdit.reporting.results import read_rows, read_study
from slimdit.reporting.tables import architecture_tables, study_tables
from slimdit.storage.files import load_npz, read_csv, read_json, sha256_of
from slimdit.study.study import Study, identity

RECORD = "tables/study.json"
OF_CONDITIONS = ("commit", "dirty", "versions", "device", "code")
OF_RESULTS = (*OF_CONDITIONS, "time")
REMAKE = "restore it, or run the study again"
REMEDY = "restore it, or delete it and run the study again"
DIGITS = 12  # of a checksum, where it is printed
MOST_NAMES = 3  # of files that record the same checksum
NAMED_FOLDERS = ("autoencoder", "data", "tables", "variants")  # their files are named one by one
SHA256 = re.compile(r"[0-9a-f]{64}")


class Verification:
    """The files of a study's folder against the checksums that they record of each other.

    They are read from the tables down to the images. What a file records counts only where the
    file is itself what others record of it, so that one damage gives one problem.

    problems: a sentence each. not_checked: what is not in the folder, or hangs on a problem.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.record: dict = {}  # of the whole study, once it is read
        self.problems: list[str] = []
        self.not_checked: list[str] = []
        self.datasets: dict[Path, SavedDataset] = {}  # whose rows are checked as files are
        self._recorded: dict[Path, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._matches: dict[Path, bool] = {}
        self._trees: Counter[tuple[str | None, bool | None]] = Counter()

    def run(self) -> None:
        if not (self.folder / RECORD).is_file():
            self.add(self.folder / RECORD, "is missing, so tables cannot be made again", REMAKE)
        for pattern, read in READERS.items():
            for path in sorted(self.folder.glob(pattern)):
                if self._is_as_recorded(path):
                    self._read(path, read)
        for path in list(self._recorded):
            self._is_as_recorded(path)
        if self.record:
            self._check_tables()

    def lines(self) -> list[str]:
        """The problems, the notes, and a line of totals."""
        totals = f"{len(self._matches)} files checked, {len(self.problems)} problems"
        left_out = ", ".join([*self.not_checked, *self._without_record()]) or "none"
        return [*self.problems, *self._notes(), f"{totals}; not checked: {left_out}"]

    def add(self, path: Path, what: str, remedy: str = REMEDY) -> None:
        self.problems.append(f"{path} {what}; {remedy}.")

    def located(self, path: str) -> Path:
        """Where a path of the config lies: a study's own files move with its folder."""
        name = self.record["config"]["study"] if self.record else self.folder.name
        own, path = Path("results", name), Path(path)
        return self.folder / path.relative_to(own) if path.is_relative_to(own) else path

    def note_origin(self, path: Path, origin: dict, keys: Iterable[str]) -> None:
        missing = [key for key in keys if key not in origin]
        if missing:
            self.add(path, f"has no {', '.join(missing)} in its origin")
        self._trees[origin.get("commit"), origin.get("dirty")] += 1

    def _is_as_recorded(self, path: Path) -> bool:
        if path not in self._matches:
            self._matches[path] = self._compare(path)
        return self._matches[path]

    def _compare(self, path: Path) -> bool:
        recorded = self._recorded.get(path, {})
        dataset = self.datasets.get(path.parent)
        if not dataset and not path.is_file():
            names = [name for of_digest in recorded.values() for name in of_digest]
            self.add(path, f"is missing, but recorded in {some(names)}", REMAKE)
            return False
        try:
            found = sha256_of_row(dataset, path.name) if dataset else sha256_of(path)
        except OSError as error:
            self.add(path, f"cannot be read ({error.strerror})")
            return False
        for sha256, names in recorded.items():
            if sha256 != found:
                self.add(
                    path,
                    f"has sha256 {found[:DIGITS]}, but {sha256[:DIGITS]} is recorded in "
                    f"{some(names)}",
                )
        return recorded.keys() <= {found}

    def _read(self, path: Path, read: "Reader") -> None:
        recorder = path.relative_to(self.folder).as_posix()
        try:
            for target, sha256 in read(self, path):
                self._recorded[target][sha256].append(recorder)
            return
        except InputError as error:
            self.problems.append(str(error))
        except Exception as error:  # whatever a file holds is a problem of that file alone
            self.add(path, f"is not what SlimDiT writes ({error!r})")
        self._matches[path] = False

    def _check_tables(self) -> None:
        files = [self.located(path) for path in self.record["files_sha256"]]
        if not all(map(self._is_as_recorded, files)):
            self.not_checked.append("tables (not all that they are made from matches)")
            return
        try:
            for path, key in unlike_config(self.record, files):
                self.add(path, f"has another {key} than the config in {RECORD}")
            made = tables_again(self.record, files)
        except Exception as error:
            self.add(self.folder / RECORD, f"and its files give no tables ({error!r})")
            return
        for name, content in made.items():
            path = self.folder / "tables" / name
            if path.is_file():
                self._matches[path] = path.read_bytes() == content
                if not self._matches[path]:
                    self.add(path, first_difference(path.read_bytes(), content))
            elif not name.startswith("architecture"):  # made only when it is asked for
                self._matches[path] = False
                self.add(path, "is missing", REMAKE)

    def _without_record(self) -> Iterator[str]:
        groups: Counter[str] = Counter()
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self._matches:
                first = path.relative_to(self.folder).parts[0]
                groups[path.name if first in NAMED_FOLDERS else first] += 1
        return (f"{name} ({number})" for name, number in sorted(groups.items()))

    def _notes(self) -> Iterator[str]:
        commits: Counter[str] = Counter()
        for (commit, _), number in self._trees.items():
            commits[str(commit or "an unknown one")[:DIGITS]] += number
        if len(commits) > 1:
            named = ", ".join(f"{number} from {commit}" for commit, number in commits.items())
            yield f"note: files come from {len(commits)} commits: {named}."
        dirty = sum(number for (_, is_dirty), number in self._trees.items() if is_dirty)
        if dirty:
            yield f"note: files made by code that was not committed as it was: {dirty}."


# Readers: what a file records, as (path, sha256); they raise InputError for another kind of file.

Reader = Callable[[Verification, Path], Iterable[tuple[Path, str]]]


def study_record(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    record = json_object(path)
    kinds = {"config": dict, "rows": list, "paper": dict, "speed_batch_size": int}
    for key, kind in {**kinds, "files_sha256": dict, "config.study": str}.items():
        entry(record, key, path, kind)
    study.note_origin(path, entry(record, "origin", path, dict), OF_RESULTS)
    study.record = record
    for name, sha256 in record["files_sha256"].items():
        yield study.located(name), checked_sha256(sha256, f"of {name}", path)


def result(targets: dict[str, str], of_origin: Iterable[str] = OF_RESULTS) -> Reader:
    """Reader of a JSON file that records, at each dotted key, the checksum of a file.

    In names of files {here} is the folder of the JSON file, {study} the study's; others are values
    of the JSON file.
    """

    def read(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
        content = json_object(path)
        study.note_origin(path, entry(content, "origin", path, dict), of_origin)
        check_place(content, path, study.folder)
        names = {**content, "here": path.parent, "study": study.folder}
        for key, target in targets.items():
            yield Path(target.format_map(names)), recorded_sha256(content, key, path)

    return read


def speed(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    run = "{study}/variants/{%s}/seed-{origin[seed]}/" + CHECKPOINT
    targets = {"origin.checkpoint_sha256": run % "variant"}
    if json_object(path).get("base") is not None:
        targets["origin.base_checkpoint_sha256"] = run % "base"
    yield from result(targets)(study, path)


def latents(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    targets = {"sha256": "{here}/latents.npy", "subset_sha256": "{here}/subset.csv"}
    yield from result(targets, OF_CONDITIONS)(study, path)
    content = json_object(path)
    source = entry(content, "autoencoder.source", path, str)
    weights = study.located(source) / "diffusion_pytorch_model.safetensors"
    if weights.is_relative_to(study.folder) or weights.is_file():
        yield weights, recorded_sha256(content, "autoencoder.weights_sha256", path)
    else:
        study.not_checked.append(f"autoencoder (no folder {source})")


def reference_features(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    meta = json.loads(str(load_npz(path)["meta"]))
    study.note_origin(path, entry(meta, "origin", path, dict), OF_CONDITIONS)
    for key, name in {"reference_sha256": "reference.npz", "subset_sha256": "subset.csv"}.items():
        yield path.with_name(name), recorded_sha256(meta, key, path)


def checkpoint(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    try:
        with safe_open(path, "np") as file:
            origin = json.loads(file.metadata()["slimdit"])["origin"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a SlimDiT checkpoint ({error!r}); {REMEDY}.") from None
    study.note_origin(path, origin, OF_CONDITIONS)
    check_place(origin, path, study.folder)

    def checkpoint_of(variant: str) -> Path:
        return study.folder / "variants" / variant / path.parent.name / path.name

    if "parent_sha256" in origin:
        yield checkpoint_of(origin["parent"]), recorded_sha256(origin, "parent_sha256", path)
        return
    yield study.folder / "data/latents.npy", recorded_sha256(origin, "latents_sha256", path)
    if teacher := origin.get("distill", {}).get("teacher"):
        yield checkpoint_of(teacher), recorded_sha256(origin, "teacher_sha256", path)


def subset(study: Verification, path: Path) -> Iterator[tuple[Path, str]]:
    try:
        rows = read_csv(path)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a table of images ({error}); {REMEDY}.") from None
    if not study.record:
        study.not_checked.append("images (where they are is in no record)")
        return
    images = entry(study.record, "config.data.images", study.folder / RECORD, str)
    root = study.located(images)
    if not root.is_dir():
        study.not_checked.append(f"images (no folder {images})")
        return
    if is_dataset(root):
        study.datasets[root] = SavedDataset(root)
    for row in rows:
        yield root / row["path"], checked_sha256(row["sha256"], f"of {row['path']}", path)


def sha256_of_row(dataset: SavedDataset, name: str) -> str:
    return hashlib.sha256(dataset.read(name)).hexdigest()


RUN_FOLDER = "variants/*/seed-*"
CHECKPOINT = "checkpoint.safetensors"
# From the tables down to the images: a file comes after those that record its checksum.
READERS: dict[str, Reader] = {
    RECORD: study_record,
    "autoencoder/autoencoder.json": result({}),
    "variants/*/architecture.json": result({}),
    "variants/*/speed.json": speed,
    f"{RUN_FOLDER}/difference.json": result(
        {
            "origin.features_sha256": "{here}/features.npz",
            "origin.parent_features_sha256": "{study}/variants/{parent}/seed-{seed}/features.npz",
        }
    ),
    f"{RUN_FOLDER}/quality.json": result(
        {
            "samples_sha256": "{here}/samples.npz",
            "features_sha256": "{here}/features.npz",
            "reference_features_sha256": "{study}/data/reference-features.npz",
        }
    ),
    f"{RUN_FOLDER}/samples.json": result(
        {
            "samples_sha256": "{here}/samples.npz",
            "prompts_sha256": "{here}/prompts.npz",
            "origin.checkpoint_sha256": f"{{here}}/{CHECKPOINT}",
        }
    ),
    f"{RUN_FOLDER}/training.json": result(
        {
            "checkpoint_sha256": f"{{here}}/{CHECKPOINT}",
            "losses_sha256": "{here}/losses.csv",
            "origin.latents_sha256": "{study}/data/latents.npy",
        }
    ),
    f"{RUN_FOLDER}/{CHECKPOINT}": checkpoint,
    "data/latents.json": latents,
    "data/reference-features.npz": reference_features,
    "data/subset.csv": subset,
}


def json_object(path: Path) -> dict:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, but it should be a JSON object; {REMEDY}."
        )
    return content


def entry(content: dict, key: str, path: Path, kind: type):
    """content["a"]["b"] of the key "a.b"; raises InputError where it is missing or another kind."""
    value = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, kind):
        raise InputError(f"{path} has no {key}, a {kind.__name__}; {REMEDY}.")
    return value


def recorded_sha256(content: dict, key: str, path: Path) -> str:
    return checked_sha256(entry(content, key, path, str), key, path)


def checked_sha256(value, key: str, path: Path) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise InputError(f"{path} records no sha256 {key}, but {value!r}; {REMEDY}.")
    return value


def check_place(content: dict, path: Path, folder: Path) -> None:
    """Raise InputError where a file of a variant or a run lies in the folder of another."""
    parts = path.relative_to(folder).parts
    if parts[0] != "variants":
        return
    place = parts[1:-1]
    named = (content.get("variant"), f"seed-{content.get('seed')}")[: len(place)]
    if named != place:
        raise InputError(
            f"{path} is about {'/'.join(map(str, named))}, but should be about {'/'.join(place)}; "
            f"{REMEDY}."
        )


def unlike_config(record: dict, files: list[Path]) -> Iterator[tuple[Path, str]]:
    """Files made under other settings than those of the recorded config, and which."""
    study = Study(record["config"])

    def settings(name: str, variant: str) -> dict:
        if name == "architecture.json":
            structure, operations = study.structure(variant), study.operations(variant)
            return {"spec": {"structure": structure, "operations": operations}}
        if name == "quality.json":
            return {"evaluation": study.evaluation, "sampling": study.sampling(variant)}
        if name == "training.json":
            return {"origin.training": identity(study.training(variant))}
        return {}

    for path in files:
        content = json_object(path)
        for key, value in settings(path.name, content.get("variant")).items():
            if entry(content, key, path, object) != value:
                yield path, key


def tables_again(record: dict, files: list[Path]) -> dict[str, bytes]:
    """The tables' contents by name, made from the JSON files that they were made from."""
    named = defaultdict(list)
    for path in files:
        named[path.name].append(str(path))
    rows = read_rows(json.dumps(record["rows"]))
    kinds = ("architecture", "speed", "quality", "training", "difference", "samples")
    paths = {kind: named[f"{kind}.json"] for kind in kinds}
    study = read_study(rows, speed_batch_size=record["speed_batch_size"], **paths)
    paper, autoencoders = record["paper"], map(read_json, named["autoencoder.json"])
    texts = study_tables(study, paper, autoencoders)
    texts |= architecture_tables(rows, paths["architecture"], paper)
    return {name: texts[name].encode() for name in sorted(texts)}


def first_difference(found: bytes, made: bytes) -> str:
    """Where a table is not the one that its JSON files give."""
    texts = (content.decode(errors="replace").split("\n") for content in (found, made))
    for number, lines in enumerate(zip_longest(*texts, fillvalue=""), start=1):
        cells = (re.split(r"[,|]", line) for line in lines)
        for one, other in zip_longest(*cells, fillvalue=""):
            if one != other:
                return f"has {one!r} in line {number}, but its JSON files give {other!r}"
    return "is not the bytes that its JSON files give"


def some(names: list[str]) -> str:
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return ", ".join(names[:MOST_NAMES] + more)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 where something does not match."""
    parser = argparse.ArgumentParser(
        prog="python -m slimdit.verify",
        description="Recompute a study's checksums and tables, and say what does not match.",
    )
    parser.add_argument("folder", help="of the study, such as results/photos", type=Path)
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"{folder} is not a folder; it should be a study's, such as results/photos.")
        return 1
    verification = Verification(folder)
    verification.run()
    print("\n".join(verification.lines()))
    return min(len(verification.problems), 1)


if __name__ == "__main__":
    sys.exit(main())
