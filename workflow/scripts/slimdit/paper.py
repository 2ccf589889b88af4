"""The numbers that a paper printed of the same variants, to stand beside our own."""

from pathlib import Path

from slimdit.errors import InputError
from slimdit.files import read_csv

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


def paper_values(path: str | Path) -> dict[str, dict[str, float]]:
    """The paper's own numbers: variant -> column -> value, without the cells the paper leaves out.

    Raises InputError when the columns are not `variant` and PAPER_COLUMNS or a cell is no number.
    """
    found = {}
    for record in read_csv(path):
        if tuple(record) != ("variant", *PAPER_COLUMNS):
            raise InputError(
                f"{path} has the columns {', '.join(map(str, record))}; they should be "
                f"variant, {', '.join(PAPER_COLUMNS)}."
            )
        variant = record.pop("variant")
        try:
            found[variant] = {
                column: float(text) for column, text in record.items() if text.strip()
            }
        except ValueError as error:
            raise InputError(
                f"{path} has a cell of {variant} that is no number ({error}); "
                "it should be a number or empty."
            ) from None
    return found
