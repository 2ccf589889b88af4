"""The numbers that a paper printed of the same variants, to stand beside our own."""

import re
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from slimdit.core.errors import InputError
from slimdit.storage.files import read_csv


class Kind(IntEnum):
    """What a number of the paper's depends on, in the order in which they are compared."""

    COUNT = 0  # on the variant alone
    DISTANCE = 1  # on the images too, and on how many there are
    LOSS = 2
    MACHINE = 3


class PaperColumn(NamedTuple):
    heading: str
    kind: Kind


PAPER_COLUMNS = {
    "total_params_million": PaperColumn("Params (M)", Kind.COUNT),
    "active_params_million": PaperColumn("Active params (M)", Kind.COUNT),
    "peak_memory_gb": PaperColumn("Peak memory (GB)", Kind.MACHINE),
    "fid": PaperColumn("FID", Kind.DISTANCE),
    "sfid": PaperColumn("sFID", Kind.DISTANCE),
    "gmacs": PaperColumn("GMACs", Kind.COUNT),
    "iterations_per_s": PaperColumn("Iterations/s", Kind.MACHINE),
    "final_loss": PaperColumn("Final loss", Kind.LOSS),
}
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
PAPER_IMAGES = 10_000  # its samples, and its reference images

PaperValues = dict[str, dict[str, str]]  # variant -> column -> as it is printed


def paper_values(path: str | Path) -> PaperValues:
    """The paper's own numbers as it prints them: variant -> column -> text of a finite number.

    Digits are kept (9.70 is not 9.7), cells that the paper leaves out are left out. Raises
    InputError when the columns are not `variant` and PAPER_COLUMNS, a cell is no number or a
    variant comes twice.
    """
    found: PaperValues = {}
    for record in read_csv(path):
        if tuple(record) != ("variant", *PAPER_COLUMNS):
            raise InputError(
                f"{path} has the columns {', '.join(map(str, record))}; they should be "
                f"variant, {', '.join(PAPER_COLUMNS)}."
            )
        variant = record.pop("variant")
        if variant in found:
            raise InputError(f"{path} has {variant} twice; each variant should have one line.")
        cells = {column: (text or "").strip() for column, text in record.items()}
        for column, text in cells.items():
            if text and not NUMBER.fullmatch(text):
                raise InputError(
                    f"{path} has a cell of {variant} that is no number ({column} is {text!r}); "
                    "it should be a number or empty."
                )
        found[variant] = {column: text for column, text in cells.items() if text}
    return found
