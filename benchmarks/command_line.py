"""What the benchmarks' command lines share: which study is measured, and where its numbers go."""

import argparse
import re
from pathlib import Path

from slimdit.study.load import configured_study
from slimdit.study.study import Study

PAPER = "configs/imagenet200.yaml"


def study_and_parser(description: str) -> tuple[Study, argparse.ArgumentParser]:
    """The study that --config names, and a parser for the options that may depend on it."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config",
        nargs="+",
        default=[PAPER],
        metavar="FILE",
        help=f"overlays on config.yaml, whose models are measured (default: {PAPER})",
    )
    study = configured_study(shared.parse_known_args()[0].config)
    return study, argparse.ArgumentParser(description=description, parents=[shared])


def default_path(what: str, device_name: str) -> Path:
    """docs/measurements/<what>-<device>.json."""
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")
    return Path("docs/measurements") / f"{what}-{slug}.json"
