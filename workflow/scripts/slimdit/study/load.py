"""The study that a command line names by its config files, without Snakemake."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from snakemake.utils import update_config

from slimdit.core.errors import InputError
from slimdit.storage.strict_yaml import read_mapping
from slimdit.study.config_check import check_config
from slimdit.study.rows import with_rows
from slimdit.study.study import Study

BASE = "config.yaml"  # on which others are laid, as in the Snakefile


def configured_study(overlays: list[str | Path]) -> Study:
    """The study of config.yaml with `overlays` on it; raises InputError for a bad config."""
    config = {}
    for part in read_configs([BASE, *overlays]):
        update_config(config, part)
    config = with_rows(config)
    check_config(config)
    return Study(config)


def read_configs(paths: Sequence[str | Path]) -> list[dict]:
    """What the files hold; raises InputError for one that cannot be read, and where some are laid
    on config.yaml but none names the study, whose results would go to another study's folder."""
    parts = [read_mapping(path) for path in paths]
    overlays = {path: part for path, part in zip(paths, parts, strict=True) if not _is_base(path)}
    if overlays and not any("study" in part for part in overlays.values()):
        raise InputError(
            f"{' and '.join(map(str, overlays))}: no study is named; write study: and its name, or "
            f"that of {BASE} to change that study."
        )
    _check_dropped(dict(zip(paths, parts, strict=True)))
    return parts


def _check_dropped(parts: dict[str | Path, dict]) -> None:
    """Raises InputError where null drops a row that no file before it has."""
    known = set()
    for path, part in sorted(parts.items(), key=lambda item: not _is_base(item[0])):
        variants = part.get("variants")
        for name, block in variants.items() if isinstance(variants, dict) else ():
            if block is None and name not in known:
                raise InputError(
                    f"{path}: variants.{name}: null drops a row, but no file before has it; mend "
                    "its name or leave it out."
                )
            known.add(name)


def _is_base(path: str | Path) -> bool:
    return Path(path).name == BASE


def run_command(
    parser: ArgumentParser, answer: Callable[..., Iterable[str]], arguments: list[str] | None
) -> int:
    """Print the lines that `answer` gives of a command line's options, with --configfile added.

    The exit code is 1, with one sentence on stderr, for bad input.
    """
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="as given to Snakemake"
    )
    try:
        for line in answer(**vars(parser.parse_args(arguments))):
            print(line)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
