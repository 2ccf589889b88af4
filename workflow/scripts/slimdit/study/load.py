"""The study that a command line names by its config files, without Snakemake."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path

from snakemake.utils import update_config

from slimdit.core.errors import InputError
from slimdit.storage.strict_yaml import read_mapping
from slimdit.study.config_check import check_config
from slimdit.study.study import Study

BASE = "config.yaml"  # on which others are laid, as in the Snakefile


def configured_study(overlays: list[str | Path]) -> Study:
    """The study of config.yaml with `overlays` on it; raises InputError for a bad config."""
    config = {}
    for path in (BASE, *overlays):
        update_config(config, read_mapping(path))
    check_config(config)
    return Study(config)


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
