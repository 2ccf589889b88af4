"""What can be concluded of the quality of each group of rows, and what cannot."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from slimdit.core.text import in_markdown
from slimdit.reporting.differences import ONE_TRAINING, THIS_CHECKPOINT, part_name
from slimdit.reporting.results import StudyResults


def conclusions(study: StudyResults) -> Iterator[str]:
    """Of each group that has rows with a parent, and of rows that learned nothing, as a list in
    Markdown."""
    lines = []
    for group, rows in study.table.dropna(subset="parent").groupby("group", sort=False):
        for kind, of_kind in rows.groupby("compared", sort=False):
            lines.append(f"- **{in_markdown(group)}** {_concluded(study, kind, of_kind)}")
    if len(names := unlearned(study)):
        lines.append(
            f"- {_listed(names)} did not learn the classes: they are recognized as seldom as by "
            f"chance, {100 / study.num_classes:.1f} % ± two standard errors. Nothing follows from "
            "their quality, nor from a comparison with them; they need longer training or more "
            "channels for the values of a patch."
        )
    if lines:
        yield "\n".join(["What follows for the quality of each group:", "", *lines])


def unlearned(study: StudyResults) -> pd.Index:
    """The rows whose class accuracy is at most that of chance, two standard errors of as many
    guesses above it."""
    accuracy = study.table["class_accuracy"].astype(float)
    if study.num_classes is None:
        return accuracy.index[:0]
    chance = 1 / study.num_classes
    error = np.sqrt(chance * (1 - chance) / study.table["num_images"].astype(float))
    return accuracy.index[accuracy <= chance + 2 * error]


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
