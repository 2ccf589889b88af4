"""A checkpoint in a format of others: python -m slimdit.export CHECKPOINT TARGET --format dit."""

import argparse
import logging
import sys
import warnings
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.models.checkpoint import load_variant, read_metadata
from slimdit.models.published import FORMATS
from slimdit.models.published.format import exportable


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    parser = argparse.ArgumentParser(prog="python -m slimdit.export", description=__doc__)
    parser.add_argument("checkpoint", help="a study's checkpoint.safetensors")
    parser.add_argument("target", help="the folder (diffusers) or .safetensors file (dit) to write")
    parser.add_argument("--format", choices=FORMATS, required=True)
    options = parser.parse_args(arguments)
    try:
        print(export(options.checkpoint, options.target, options.format))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def export(checkpoint: str | Path, target: str | Path, format: str) -> str:
    """Write `target`, which should not be there yet; a sentence says how it is used.

    Raises InputError for a target that is there, and a checkpoint that the format cannot hold.
    """
    if Path(target).exists():
        raise InputError(f"{target} is there already; name another, or delete it.")
    model, metadata = load_variant(checkpoint), read_metadata(checkpoint)
    published = exportable(model, metadata["structure"], checkpoint)
    return FORMATS.build({"name": format}).write(target, published)


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of libraries, as are these
    warnings.simplefilter("ignore")
    sys.exit(main())
