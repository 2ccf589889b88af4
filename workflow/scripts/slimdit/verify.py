"""Whether a study's files are what its records say: python -m slimdit.verify results/photos."""

import argparse
import contextlib
import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePath

from slimdit.core.errors import InputError
from slimdit.data.sources import image_source
from slimdit.jobs.provenance import read_origin
from slimdit.reporting.tables import tables_again
from slimdit.storage.files import read_csv, read_json, sha256_of
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.study import Study

RECORD = "tables/study.json"
SUBSET = "data/subset.csv"
REMEDY = "restore it, or delete it and run the study again"
DIGITS = 12  # of a checksum, where it is shown


class Verification:
    """The files of a study's folder against the checksums that they record of each other.

    Files are named by their paths from the folder, and read from the tables down to the images.
    What a file records counts only where it is itself what others record of it.

    problems: name -> a sentence. not_checked: what is elsewhere, or hangs on a problem.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.problems: dict[str, str] = {}
        self.not_checked: set[str] = set()
        # name -> sha256 -> the file that records it
        self.recorded: dict[str, dict[str, str]] = defaultdict(dict)
        self.found: dict[str, str] = {}  # sha256 of files, "" of those that cannot be read

    def run(self) -> None:
        with self.problem_of(RECORD):
            record = read_json(self.folder / RECORD)
            study = Study(record["config"])
            jobs = list(jobs_of(study))
            inputs = self.read(RECORD).get("inputs", {})
        if self.problems:
            return
        for job in reversed(jobs):
            if job.step != "tables":  # Its files are made again.
                self.check_job(job)
        if study.has_images and self.is_as_recorded(SUBSET):
            with self.problem_of(SUBSET):
                self.read_images(study)
        for name in self.recorded:
            self.is_as_recorded(name)
        self.check_tables(record, [located(RECORD, path) for path in inputs])

    @contextlib.contextmanager
    def problem_of(self, name: str) -> Iterator[None]:
        """What is raised is a problem of the file, whose content may be anything."""
        try:
            yield
        except InputError as error:
            self.problems[name] = str(error)
        except Exception as error:
            self.add(name, f"is not what SlimDiT writes ({error!r})")

    def add(self, name: str, what: str) -> None:
        self.problems[name] = f"{os.path.normpath(self.folder / name)} {what}; {REMEDY}."

    def is_inside(self, name: str) -> bool:
        """Whether a file is in the study's folder: others are not read."""
        if PurePath(name).parts[0] not in ("..", "/"):
            return True
        self.not_checked.add(f"{os.path.normpath(self.folder / name)} (outside the study)")
        return False

    def is_as_recorded(self, name: str) -> bool:
        """Whether a file has no problem, by the records that are read so far."""
        if name not in self.found:
            self.found[name] = ""
            with contextlib.suppress(OSError, ValueError):  # no file, no name of one
                self.found[name] = sha256_of(self.folder / name)
        found = self.found[name]
        for sha256, recorder in self.recorded.get(name, {}).items():
            if sha256 != found:
                has = f"has sha256 {found[:DIGITS]}" if found else "is missing or cannot be read"
                self.add(name, f"{has}, but {sha256[:DIGITS]} is recorded in {recorder}")
        return name not in self.problems

    def read(self, name: str) -> dict:
        """The origin of a file; takes what it records of others."""
        origin = read_origin(self.folder / name)
        for path, sha256 in (origin.get("inputs", {}) | origin.get("outputs", {})).items():
            other = located(name, path)
            if self.is_inside(other):
                self.recorded[other].setdefault(str(sha256), name)
        return origin

    def check_job(self, job: Job) -> None:
        """Whether what a job made was made with the config's settings."""
        for path in job.outputs.values():
            name = os.path.relpath(path, job.study.layout.root)
            has_origin = path == job.record or PurePath(name).stem == "checkpoint"
            if has_origin and self.is_inside(name) and self.is_as_recorded(name):
                with self.problem_of(name):
                    recipe = self.read(name).get("recipe")
                    if recipe is None:
                        self.add(name, "has no recipe in its origin")
                    elif recipe["settings"] != job.settings:
                        self.add(name, f"was made with other settings than the config in {RECORD}")

    def read_images(self, study: Study) -> None:
        """What data/subset.csv records of the images, where they are."""
        images = study.config["data"]["images"]
        if not os.path.isabs(images):
            images = os.path.relpath(images, study.layout.root)
        root = Path(os.path.normpath(self.folder / images))
        if not root.is_dir():
            self.not_checked.add(f"images (no folder {root})")
            return
        source = image_source(root)
        for row in read_csv(self.folder / SUBSET):
            name = os.path.join(images, row["path"])
            self.recorded[name][row["sha256"]] = SUBSET
            self.found[name] = ""
            with contextlib.suppress(OSError):
                self.found[name] = hashlib.sha256(source.read(row["path"])).hexdigest()

    def check_tables(self, record: dict, inputs: list[str]) -> None:
        """Whether the files that the tables are made from give them again."""
        if not all(self.is_inside(name) and self.is_as_recorded(name) for name in inputs):
            self.not_checked.add("tables (not all that they are made from matches)")
            return
        with self.problem_of(RECORD):
            made = tables_again(record, [self.folder / name for name in inputs])
            for file, text in made.items():
                name = located(RECORD, file)
                path = self.folder / name
                if path.is_file() and path.read_bytes() != text.encode():
                    self.add(name, _first_difference(path.read_text(errors="replace"), text))


def located(name: str, path: str) -> str:
    """The name of the file whose path is told from the folder of another."""
    return os.path.normpath(PurePath(name).parent / path)


def _first_difference(found: str, made: str) -> str:
    lines = zip_longest(found.split("\n"), made.split("\n"), fillvalue="")
    for number, (one, other) in enumerate(lines, start=1):
        for cell, right in zip_longest(one.split(","), other.split(","), fillvalue=""):
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
    problems, not_checked = verification.problems.values(), sorted(verification.not_checked)
    totals = f"{len(verification.found)} files checked, {len(problems)} problems"
    print(*problems, f"{totals}; not checked: {', '.join(not_checked) or 'none'}", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
