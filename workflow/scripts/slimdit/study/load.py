"""The study that a command line names by its config files, without Snakemake."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from snakemake.utils import update_config

from slimdit.core.errors import InputError
from slimdit.study.config_check import config_problems, listed
from slimdit.study.study import Study

BASE = "config.yaml"  # on which others are laid, as in the Snakefile


def configured_study(overlays: list[str | Path]) -> Study:
    """The study of config.yaml with `overlays` on it; raises InputError for a bad config."""
    config = {}
    for path in (BASE, *overlays):
        try:
            part = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); name a config.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            what = " ".join(str(error).split())
            raise InputError(f"{path} is not YAML ({what}); it should be a config.") from None
        if not isinstance(part, dict):
            raise InputError(f"{path} holds no keys; it should be a config such as {BASE}.")
        update_config(config, part)
    if problems := config_problems(config):
        raise InputError(listed(problems))
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
