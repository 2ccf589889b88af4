"""Whether a study's files are what its records say: python -m slimdit.verify results/photos."""

import argparse
import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.data.sources import image_source
from slimdit.jobs.provenance import read_origin
from slimdit.reporting.tables import tables_again
from slimdit.storage.files import read_csv, read_json, sha256_of
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.layout import RESULTS
from slimdit.study.study import Study

RECORD = "tables/study.json"
SUBSET = "data/subset.csv"
# Files that say what they were made from and with: each comes after those that are made from it.
RECORDS = (
    *(RECORD, "autoencoder/autoencoder.json", "variants/*/*.json", "variants/*/*/*.json"),
    *("variants/*/*/checkpoint.safetensors", "data/*.json", "data/reference-features.npz"),
)
IN_EVERY_ORIGIN = ("commit", "dirty", "versions", "device", "recipe")
REMEDY = "restore it, or delete it and run the study again"
NAMED = ("autoencoder", "data", "tables", "variants")  # their files are named one by one
DIGITS = 12  # of a checksum, where it is shown
MOST_NAMES = 3  # of files that record the same checksum


class Verification:
    """The files of a study's folder against the checksums that they record of each other.

    They are read from the tables down to the images. What a file records counts only where the
    file is itself what others record of it, so that one damage gives one problem.

    problems: a sentence each. not_checked: what is not in the folder, or hangs on a problem.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.record: dict = {}  # of the whole study, once it is read
        self.jobs: list[Job] = []  # of its config
        self.origins: dict[Path, dict] = {}
        self.problems: list[str] = []
        self.not_checked: list[str] = []
        # path -> sha256 -> names of the files that record it
        self.recorded: dict[Path, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.found: dict[Path, str] = {}  # sha256 of files, once they are read
        self.unlike: set[Path] = set()  # files that are not what SlimDiT writes

    def run(self) -> None:
        if not (self.folder / RECORD).is_file():
            self.add(self.folder / RECORD, "is missing, so tables cannot be made again")
        for pattern in RECORDS:
            for path in sorted(self.folder.glob(pattern)):
                if self.is_as_recorded(path):
                    self.read(path)
        if self.record and self.is_as_recorded(self.folder / SUBSET):
            self.read_images()
        other_tables = list(self.differing_tables()) if self.record else []
        for path, digests in sorted(self.recorded.items()):
            found = self.sha256(path)
            wrong = [sha256 for sha256 in digests if sha256 != found]
            if wrong and path not in other_tables:
                names = ", ".join(digests[wrong[0]][:MOST_NAMES])
                has = f"has sha256 {found[:DIGITS]}" if found else "is missing or cannot be read"
                self.add(path, f"{has}, but {wrong[0][:DIGITS]} is recorded in {names}")

    def sha256(self, path: Path) -> str:
        """Of the file, or an empty text where it cannot be read."""
        if path not in self.found:
            try:
                self.found[path] = sha256_of(path) if path.is_file() else ""
            except OSError:
                self.found[path] = ""
        return self.found[path]

    def is_as_recorded(self, path: Path) -> bool:
        recorded = self.recorded.get(path, {}).keys()
        return path not in self.unlike and recorded <= {self.sha256(path)}

    def add(self, path: Path, what: str) -> None:
        self.problems.append(f"{path} {what}; {REMEDY}.")

    def read(self, path: Path) -> None:
        """Take what a file records of others; whatever else it holds is a problem of that file."""
        name = path.relative_to(self.folder).as_posix()
        try:
            origin = read_origin(path)
            self.check_place(path, origin)
            files = []
            for other, sha256 in {**origin.get("inputs", {}), **origin.get("outputs", {})}.items():
                try:
                    files.append((self.named(path, other), str(sha256)))
                except InputError as outside:
                    self.not_checked.append(str(outside))
            if missing := [key for key in IN_EVERY_ORIGIN if key not in origin]:
                raise InputError(f"{path} has no {', '.join(missing)} in its origin; {REMEDY}.")
            if name == RECORD:
                record = read_json(path)
                self.jobs = list(jobs_of(Study(record["config"])))
                self.record = record
        except Exception as error:
            self.unlike.add(path)
            if isinstance(error, InputError):
                self.problems.append(str(error))
            else:
                self.add(path, f"is not what SlimDiT writes ({error!r})")
        else:
            self.origins[path] = origin
            self.found.setdefault(path, sha256_of(path))
            for other, sha256 in files:
                self.recorded[other][sha256].append(name)

    def named(self, path: Path, name: str) -> Path:
        """The file that `path` names from its folder. Raises InputError for one outside the
        study's folder, which is not read."""
        named, folder = (Path(os.path.normpath(each)) for each in (path.parent / name, self.folder))
        if not named.is_relative_to(folder):
            raise InputError(f"{named} is outside the study")
        return self.folder / named.relative_to(folder)

    def check_place(self, path: Path, origin: dict) -> None:
        """Raise InputError where a file of a variant or a run lies in the folder of another."""
        room, *place = path.relative_to(self.folder).parts[:-1]
        if room == "variants":
            about = read_json(path) if path.suffix == ".json" else origin
            named = [about.get("variant"), f"seed-{about.get('seed')}"][: len(place)]
            if named != place:
                raise InputError(f"{path} is about {'/'.join(map(str, named))}; {REMEDY}.")

    def read_images(self) -> None:
        """What data/subset.csv records of the images, where they are."""
        images = Path(self.record["config"]["data"]["images"])
        own = RESULTS / self.record["config"]["study"]
        root = self.folder / images.relative_to(own) if images.is_relative_to(own) else images
        if not root.is_dir():
            self.not_checked.append(f"images (no folder {images})")
            return
        source, subset = image_source(root), self.folder / SUBSET
        try:
            for row in read_csv(subset):
                path = root / row["path"]
                self.recorded[path][row["sha256"]].append(SUBSET)
                try:
                    self.found[path] = hashlib.sha256(source.read(row["path"])).hexdigest()
                except OSError:
                    self.found[path] = ""
        except Exception as error:
            self.add(subset, f"is not a table of images ({error!r})")

    def check_job(self, job: Job) -> None:
        """Whether what a job made has the config's settings and records all that was made."""
        if job.record is None:
            return
        root = job.study.layout.root
        path, *made = (
            self.folder / os.path.relpath(each, root)
            for each in (job.record, *job.outputs.values())
        )
        if path not in self.origins:
            return
        if self.origins[path]["recipe"]["settings"] != job.settings:
            self.add(path, f"was made with other settings than the config in {RECORD}")
        for other in made:
            if other != path and other.suffix and other not in self.recorded:
                self.add(path, f"records no sha256 of {other.name}")

    def differing_tables(self) -> Iterator[Path]:
        """Check the settings of all files, and that they give the tables; yields other tables."""
        for job in self.jobs:
            try:
                self.check_job(job)
            except (InputError, OSError):  # a setting that is read from a file
                self.not_checked.append(f"settings of {job.name}")
        record = self.folder / RECORD
        files = [self.named(record, name) for name in self.origins[record].get("inputs", {})]
        if not all(map(self.is_as_recorded, files)):
            self.not_checked.append("tables (not all that they are made from matches)")
            return
        try:
            made = tables_again(self.record, files)
        except Exception as error:
            self.add(record, f"and its files give no tables ({error!r})")
            return
        for name, text in made.items():
            path = record.with_name(name)
            if path.is_file() and path.read_bytes() != text.encode():
                self.add(path, _first_difference(path.read_text(errors="replace"), text))
                yield path

    def lines(self) -> Iterator[str]:
        """The problems, the notes, and a line of totals."""
        yield from self.problems
        commits = Counter(str(origin.get("commit"))[:DIGITS] for origin in self.origins.values())
        if len(commits) > 1:
            named = ", ".join(f"{number} from {commit}" for commit, number in commits.items())
            yield f"note: files come from {len(commits)} commits: {named}."
        if dirty := sum(bool(origin.get("dirty")) for origin in self.origins.values()):
            yield f"note: files made by code that was not committed as it was: {dirty}."
        totals = f"{len(self.found)} files checked, {len(self.problems)} problems"
        others = Counter()
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.found:
                first = path.relative_to(self.folder).parts[0]
                others[path.name if first in NAMED else first] += 1
        left_out = [*self.not_checked, *(f"{name} ({n})" for name, n in sorted(others.items()))]
        yield f"{totals}; not checked: {', '.join(left_out) or 'none'}"


def _first_difference(found: str, made: str) -> str:
    lines = zip_longest(found.split("\n"), made.split("\n"), fillvalue="")
    for number, (one, other) in enumerate(lines, start=1):
        cells = zip_longest(one.split(","), other.split(","), fillvalue="")
        for cell, right in cells:
            if cell != right:
                return f"has {cell!r} in line {number}, but its JSON files give {right!r}"
    return "is not the text that its JSON files give"


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
