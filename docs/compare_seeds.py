"""Whether what a study marks as real stands when every row is trained again from other seeds.

    python docs/compare_seeds.py photos     # of results/photos, which has several seeds

Writes docs/<study>/retraining.md: differences from the parent in each seed, as a study of that
seed alone has them; over all seeds; and how many marks of a study of one seed others reverse. The
same is told of marks that take another training for another draw of samples, as no table does.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

from slimdit.reporting.columns import BEYOND_NOISE, NOISE, Column
from slimdit.reporting.differences import OVER_SEEDS, THIS_CHECKPOINT, part_name
from slimdit.reporting.markdown_table import markdown_table
from slimdit.reporting.results import StudyResults, read_study
from slimdit.storage.files import read_json, write_text

LEGEND = f"""\
Each number is a row's value less its parent's. {BEYOND_NOISE[THIS_CHECKPOINT]}: beyond what other
samples of the same weights would give (95 %, all rows of a metric together), of rows that are made
from their parent's weights; {BEYOND_NOISE[OVER_SEEDS]}: beyond what other trainings would give, of
rows that are trained on their own, whose training in one seed tells nothing; {NOISE}: within it."""


def compare_seeds(study: str) -> str:
    """The text of the comparison, from the study's record and its quality.json files."""
    root = Path("results") / study
    record = read_json(root / "tables/study.json")
    files = sorted(map(str, root.glob("variants/*/seed-*/quality.json")))
    seeds = sorted({read_json(file)["seed"] for file in files})
    rows, size = record["rows"], record["speed_batch_size"]

    def results(files: list[str], rows: list[dict] = rows) -> StudyResults:
        return read_study(rows, size, quality=files)

    of_seed = {seed: [f for f in files if f"/seed-{seed}/" in f] for seed in seeds}
    alone = {seed: results(of_seed[seed]) for seed in seeds}
    whole = results(files)
    as_samples = [row | {"derived_from": row["parent"]} for row in rows]
    mistaken = {seed: results(of_seed[seed], as_samples) for seed in seeds}
    columns = [column for column in whole.columns if column.differs]
    text = [
        f"# The study `{study}`, trained from {len(seeds)} seeds",
        " ".join(LEGEND.split()),
        told("Of the marks of studies of one seed", alone, columns),
        told("Were other trainings taken for other samples, of the marks", mistaken, columns),
        reversed_over_seeds(whole, alone, columns),
    ]
    for column in columns:
        text += [f"## {column.heading.format(unit='')}", table_of(column, alone, whole)]
    return "\n\n".join(text) + "\n"


def change_in(study: StudyResults, column: Column) -> pd.Series:
    """Each row's value less its parent's."""
    values = study.table[column.name].astype(float)
    return values - values.reindex(study.table["parent"]).to_numpy()


def is_reversed(alone: dict[int, StudyResults], column: Column) -> pd.Series:
    """Of each row, whether its change has not the same sign in every seed that has it."""
    signs = pd.DataFrame({s: np.sign(change_in(study, column)) for s, study in alone.items()})
    return signs.nunique(axis=1) > 1


def marked(study: StudyResults, column: Column) -> pd.Series:
    return study.table[part_name(column.name, "significant")] == True  # noqa: E712


def told(what: str, alone: dict[int, StudyResults], columns: list[Column]) -> str:
    """How many marks of a seed have the other sign in another seed."""
    num_marks, reverses = 0, []
    for seed, study in alone.items():
        for column in columns:
            of_column = marked(study, column)
            num_marks += int(of_column.sum())
            reverses += [
                f"{name} ({column.heading.format(unit='').strip()}, seed {seed})"
                for name in study.table.index[of_column & is_reversed(alone, column)]
            ]
    which = f": {', '.join(reverses)}" if 0 < len(reverses) <= 20 else ""
    return f"{what}, {len(reverses)} of {num_marks} have another sign in another seed{which}."


def reversed_over_seeds(whole: StudyResults, alone: dict, columns: list[Column]) -> str:
    """The same of the marks over all seeds."""
    num_marks, num_reversed = 0, 0
    for column in columns:
        own = marked(whole, column) & (whole.table["compared"] == OVER_SEEDS)
        num_marks += int(own.sum())
        num_reversed += int((own & is_reversed(alone, column)).sum())
    return (
        f"Of the marks {BEYOND_NOISE[OVER_SEEDS]} over all seeds, {num_reversed} of {num_marks} "
        "have not the same sign in every seed."
    )


def table_of(column: Column, alone: dict[int, StudyResults], whole: StudyResults) -> str:
    """A line for each variant that is compared with its parent."""
    compared = whole.table.dropna(subset="compared")
    unit = column.unit(whole.table[column.name].max())[1]

    def shown(value: float) -> str:
        return f"{value / unit:+.3g}"

    def mark(study: StudyResults, variant: str) -> str:
        row = study.table.loc[variant]
        is_beyond = row[part_name(column.name, "significant")]
        if pd.isna(is_beyond):
            return ""
        return f" {BEYOND_NOISE[row['compared']] if is_beyond else NOISE}"

    lines = []
    for variant, row in compared.iterrows():
        changes = [
            f"{shown(change_in(study, column)[variant])}{mark(study, variant)}"
            for study in alone.values()
        ]
        low, high = (shown(row[part_name(column.name, end)]) for end in ("low", "high"))
        lines.append([variant, row["compared"], *changes, f"{low} to {high}{mark(whole, variant)}"])
    seeds = [f"Seed {seed}" for seed in alone]
    return markdown_table(["Model", "Compared", *seeds, "95 % interval over all"], lines)


if __name__ == "__main__":
    name = sys.argv[1]
    write_text(Path("docs") / name / "retraining.md", compare_seeds(name))
