"""Which Python, and where: python interpreter.py, before anything is installed.

Whatever Python a machine has must be able to read this file: it holds nothing that 2.7 lacks.
"""
# ruff: noqa: UP032, RUF005

import os
import re
import sys

OLDEST, NEWEST = (3, 11), (3, 14)  # for which the pinned packages are there
SPLIT_BY_A_SHELL = re.compile(r"[\s\"'\\$`&|;<>(){}]")


def version_problem(version):
    """A sentence on a Python of this version, (major, minor); None for one that will do."""
    if OLDEST <= version <= NEWEST:
        return None
    return (
        "Python {}.{} is too {}: SlimDiT needs Python {}.{} to {}.{}; name one, as in "
        "`make study PYTHON=python3.12`.".format(
            *(version + ("old" if version < OLDEST else "new",) + OLDEST + NEWEST)
        )
    )


def path_problem(path):
    """A sentence on the path of a Python, or of the folder that will hold it; None for one that a
    shell takes as it is: Snakemake writes it into commands without quotes."""
    found = SPLIT_BY_A_SHELL.search(path)
    if not found:
        return None
    what = found.group().replace(" ", "a space")
    return (
        "The path {} has {} in it, where a shell splits Snakemake's commands; put the checkout, or "
        ".venv, where no path has one.".format(path, what)
    )


if __name__ == "__main__":
    sys.exit(version_problem(sys.version_info[:2]) or path_problem(os.getcwd()))
