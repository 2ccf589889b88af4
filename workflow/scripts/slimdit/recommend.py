"""Which row of a study to use: python -m slimdit.recommend results/photos --max-loss 2%."""

import argparse
import re
import sys
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.reporting.recommendation.costs import BY, LATENCY, check_batch_size
from slimdit.reporting.recommendation.recommend import MAX_LOSS, recommend
from slimdit.reporting.recommendation.text import recommendation_markdown
from slimdit.reporting.tables import study_again
from slimdit.storage.files import read_json

RECORD = "tables/study.json"


def answer(folder: Path, max_loss: float, batch: int | None, by: str) -> str:
    """The recommendation of a study's folder, in Markdown.

    max_loss: a part of the base's Fréchet distance. batch: images at once, None for the tables'.
    by: one of `costs.BY`. Raises InputError for a folder without a finished study, and for what
    was not measured.
    """
    if not (folder / RECORD).is_file():
        raise InputError(
            f"{folder} has no {RECORD}; it should be the folder of a finished study, such as "
            "results/photos."
        )
    record = read_json(folder / RECORD)
    inputs = record["origin"]["inputs"]
    files = [(folder / RECORD).parent / name for name in inputs]
    study = study_again(record, files, batch)
    if batch is not None:
        check_batch_size(study, batch)
    return recommendation_markdown(recommend(study, max_loss, by))


def percentage(text: str) -> float:
    """2% -> 0.02; raises InputError for what is not one."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?) *%", text.strip())):
        raise InputError(f"the largest loss is {text!r}; it should be a percentage, such as 2%.")
    return float(found[1]) / 100


def whole_number(text: str) -> int:
    if not text.strip().isdecimal():
        raise InputError(f"the batch size is {text!r}; it should be a whole number, such as 8.")
    return int(text)


def one_of_by(text: str) -> str:
    if text not in BY:
        raise InputError(f"rows are chosen by {text!r}; it should be one of {', '.join(BY)}.")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m slimdit.recommend",
        description="Say which row of a finished study to use, and how sure that is.",
    )
    parser.add_argument("folder", help="of the study, such as results/photos", type=Path)
    default = f"{100 * MAX_LOSS:g}%"
    parser.add_argument("--max-loss", default=default, help="of quality, such as 2%%")
    parser.add_argument("--batch", help="size that was measured; that of the tables if not given")
    parser.add_argument("--by", default=LATENCY, help=", ".join(BY))
    given = parser.parse_args(arguments)
    try:
        max_loss, by = percentage(given.max_loss), one_of_by(given.by)
        batch = None if given.batch is None else whole_number(given.batch)
        print(answer(given.folder, max_loss, batch, by), end="")
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
