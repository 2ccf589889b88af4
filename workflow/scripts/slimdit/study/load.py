"""The study that a command line names by its config files, without Snakemake."""

import copy
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
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


def with_rows(config: dict) -> dict:
    """The config with its rows as they are: without those that an overlay drops, by null in a row's
    place, and for a row with a `sweep` one for each of its values, which are a `family`.

    Raises InputError for a sweep that names no rows.
    """
    variants = config.get("variants")
    if not isinstance(variants, dict):
        return config
    rows: dict = {}
    for name, block in variants.items():
        if isinstance(block, dict) and "sweep" in block:
            rows |= _swept(name, block, {*variants, *rows})
        elif block is not None:
            rows[name] = block
    return config | {"variants": rows}


def _swept(family: str, block: dict, taken: set[str]) -> dict[str, dict]:
    """The rows "<family>-<value>" of `sweep: {option: values}`, an option such as sampling.steps or
    apply.0.keep_heads."""
    sweep = block["sweep"]
    (option, values), *others = sweep.items() if isinstance(sweep, dict) and sweep else [("", None)]
    if others or not isinstance(option, str) or not isinstance(values, list) or not values:
        raise InputError(
            f"config: variants.{family}.sweep is {sweep!r}; it should be one option and a list of "
            "its values, such as {sampling.steps: [5, 10, 20]}."
        )
    rows: dict[str, dict] = {}
    for value in values:
        name = f"{family}-{value}".replace(".", "_")
        if name in taken or name in rows:
            raise InputError(
                f"config: variants.{family}.sweep makes a row {name}, which there is already; "
                "rename one or leave it out."
            )
        row = rows[name] = copy.deepcopy(block)
        del row["sweep"]
        row["family"] = family
        *outer, last = option.split(".")
        node = row
        try:
            for key in outer:
                node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
            node[int(last) if isinstance(node, list) else last] = value
        except (AttributeError, IndexError, TypeError, ValueError):
            raise InputError(
                f"config: variants.{family}.sweep: the row has no place for {option}; it should be "
                "the path of an option, such as sampling.steps or apply.0.keep_heads."
            ) from None
    return rows


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
