"""The numbers that a paper printed of the same variants, to stand beside our own."""

from decimal import Decimal, InvalidOperation
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.storage.files import read_csv

PAPER_COLUMNS = (
    "total_params_million",
    "active_params_million",
    "peak_memory_gb",
    "fid",
    "sfid",
    "gmacs",
    "iterations_per_s",
    "final_loss",
)


def paper_values(path: str | Path) -> dict[str, dict[str, str]]:
    """The paper's own numbers as it prints them: variant -> column -> text of a finite number.

    Digits are kept (9.70 is not 9.7), cells that the paper leaves out are left out. Raises
    InputError when the columns are not `variant` and PAPER_COLUMNS, a cell is no number or a
    variant comes twice.
    """
    found = {}
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
            if text and not _is_number(text):
                raise InputError(
                    f"{path} has a cell of {variant} that is no number ({column} is {text!r}); "
                    "it should be a number or empty."
                )
        found[variant] = {column: text for column, text in cells.items() if text}
    return found


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
