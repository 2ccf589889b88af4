"""What can be concluded of the quality of each group of rows, and what cannot."""

from collections.abc import Iterator

import pandas as pd

from slimdit.reporting.differences import ONE_TRAINING, THIS_CHECKPOINT, part_name
from slimdit.reporting.results import StudyResults


def conclusions(study: StudyResults) -> Iterator[str]:
    """A paragraph for each group that has rows with a parent, as a list in Markdown."""
    lines = []
    for group, rows in study.table.dropna(subset="parent").groupby("group", sort=False):
        for kind, of_kind in rows.groupby("compared", sort=False):
            lines.append(f"- **{group}** {_concluded(study, kind, of_kind)}")
    if lines:
        yield "\n".join(["What follows for the quality of each group:", "", *lines])


def _concluded(study: StudyResults, kind: str, rows: pd.DataFrame) -> str:
    if kind == ONE_TRAINING:
        return (
            f"({_listed(rows.index)}): nothing, neither better nor worse. Each row and its parent "
            "were trained once, and another seed may reverse their order."
        )
    # Smaller values of both are better.
    metrics = {"held_out_loss": "held-out loss", study.names.fd_column: study.names.fd_label}
    found = [f"{heading} {_told(rows, name)}" for name, heading in metrics.items()]
    limit = "of another training" if kind == THIS_CHECKPOINT else "of other data or longer training"
    return f"({kind}): {'; '.join(found)}. It says nothing {limit}."


def _told(rows: pd.DataFrame, name: str) -> str:
    """Which rows differ from their parents beyond the noise."""
    is_beyond, change = (rows[part_name(name, part)] for part in ("significant", "difference"))
    told = {
        "worse in": rows.index[is_beyond.eq(True) & (change > 0)],
        "better in": rows.index[is_beyond.eq(True) & (change < 0)],
        "within the noise in": rows.index[is_beyond.eq(False)],
        "not known of": rows.index[is_beyond.isna()],
    }
    return ", ".join(f"{words} {_listed(names)}" for words, names in told.items() if len(names))


def _listed(names) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
