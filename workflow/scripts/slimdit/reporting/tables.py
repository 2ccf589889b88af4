"""The texts of a study's tables, by the names of their files; in the CSV, no cell is empty."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from slimdit.diffusion.loss_terms import TERMS
from slimdit.evaluation.metric_names import OVER_SETS
from slimdit.reporting.columns import CHANGE, NONE, NOT_MEASURED, STD_OVER_SEEDS, UNDEFINED
from slimdit.reporting.differences import ONE_TRAINING
from slimdit.reporting.markdown_table import table1_markdown
from slimdit.reporting.paper_comparison import comparison, paper_markdown
from slimdit.reporting.recommendation.recommend import recommend
from slimdit.reporting.recommendation.text import recommendation_json, recommendation_markdown
from slimdit.reporting.results import (
    COSTS,
    FILES,
    IMAGE_COSTS,
    REFERENCE_FILE,
    StudyResults,
    over_seeds,
    read_study,
)
from slimdit.storage.files import read_json
from slimdit.study.paper_values import PaperValues


def study_tables(
    study: StudyResults, paper: PaperValues, autoencoders: Iterable[dict] = ()
) -> dict[str, str]:
    """The tables of a finished study; those beside the paper's where there is one ({}: none)."""
    answer = recommend(study)
    texts = {
        "table1.csv": table1_csv(study),
        "table1.md": table1_markdown(study, autoencoders),
        "table2.csv": table2_csv(study),
        "recommendation.md": recommendation_markdown(answer),
        "recommendation.json": recommendation_json(answer),
    }
    if paper:
        pairs = comparison(study, paper)
        texts["paper.csv"] = paper_csv(pairs)
        texts["paper.md"] = paper_markdown(study, pairs)
    return texts


def architecture_tables(
    rows: list[dict], architecture: list[str], paper: PaperValues
) -> dict[str, str]:
    """What is known before training, where no cache is calibrated and no layer measured;
    `architecture` are paths."""
    counted = read_study(rows, speed_batch_size=0, architecture=architecture)
    texts = {"architecture.csv": architecture_csv(counted)}
    if paper:
        texts["architecture_paper.md"] = paper_markdown(counted, comparison(counted, paper))
    return texts


def tables_again(record: dict, files: list[Path]) -> dict[str, str]:
    """The tables' texts by name, made from the JSON files that they were made from."""
    paper, study = record["paper"], study_again(record, files)
    autoencoders = [read_json(path) for path in files if path.name == "autoencoder.json"]
    texts = study_tables(study, paper, autoencoders)
    architecture = [path for path in files if path.stem == "architecture"]
    return texts | architecture_tables(record["rows"], architecture, paper)


def study_again(
    record: dict, files: list[Path], speed_batch_size: int | None = None
) -> StudyResults:
    """The results of a study from its record and the JSON files that its tables were made from;
    times are those of its tables' batch size, unless another is given."""
    paths = {
        name: [path for path in files if path.stem == name] for name in (*FILES, REFERENCE_FILE)
    }
    return read_study(record["rows"], speed_batch_size or record["speed_batch_size"], **paths)


def table1_csv(study: StudyResults) -> str:
    """One record per set of real images and per variant. Peak memory is that of the eager mode; a
    spread, over seeds or over sets of samples, has a column where some row has one."""
    table, no_parent = study.rows, study.rows["parent"].isna()
    text = {
        "group": table["group"],
        "variant": table.index,
        "parent": table["parent"].fillna(NONE),
        "num_seeds": table["num_seeds"],
        "num_images": table["num_images"].map(_cell),
    }
    for column in study.columns:
        name, spread, change = (f"{column.name}{part}" for part in ("", STD_OVER_SEEDS, CHANGE))
        if name.endswith(OVER_SETS) and table[name].isna().all():
            continue
        text[name] = table[name].map(_cell)
        if column.needs_seeds:
            text[name] = text[name].mask(table["compared"] == ONE_TRAINING, ONE_TRAINING)
        if column.needs_parent:
            text[name] = text[name].mask(no_parent, NONE)
        if spread in table and table[spread].notna().any():
            text[spread] = table[spread].map(_cell)
        if column.changes:
            text[change] = table[change].map(_percent).mask(no_parent, NONE)
    records = pd.DataFrame(text)
    is_none = records.eq(NOT_MEASURED).mul(table["is_reference"], axis=0)
    return _csv(records.mask(is_none, NONE))


def table2_csv(study: StudyResults) -> str:
    """Final training losses, one record per trained variant.

    Each loss is the mean over the last `window_steps` steps; "none" marks a term that the
    variant's loss does not have.
    """
    finals = [f"final_{term}" for term in TERMS]
    runs = pd.DataFrame(
        study.training, columns=["variant", "seed", "steps", "final_window_steps", *finals]
    )
    by_variant = runs.groupby("variant", sort=False)
    first, num_known = by_variant.first(), by_variant.count()
    found = over_seeds(study.training, finals)
    parts = ("", STD_OVER_SEEDS) if runs["seed"].nunique() > 1 else ("",)
    text = {
        "group": study.table.loc[first.index, "group"],
        "variant": first.index,
        "num_seeds": num_known["seed"],
        "steps": first["steps"],
        "window_steps": first["final_window_steps"],
    }
    for term, final in zip(TERMS, finals, strict=True):
        for part in parts:
            cells = found[f"{final}{part}"].map(_cell)
            text[f"{term}{part}"] = cells.where(num_known[final] > 0, NONE)
    return _csv(text)


def architecture_csv(study: StudyResults) -> str:
    """The counts of the variants that have been counted."""
    costs = study.table[[*COSTS, *IMAGE_COSTS]].dropna(how="all")
    return _csv({"variant": costs.index, **costs.map(_cell)})


def paper_csv(pairs: pd.DataFrame) -> str:
    """One record per number that both have, of those that `comparison` gives."""
    text = pairs.dropna(subset="ours")
    text[["ours", "comparable"]] = text[["ours", "comparable"]].map(_cell)
    text["difference"] = text["difference"].map("{:.6g}".format)
    text["difference_percent"] = text["difference_percent"].map(_percent)
    return _csv(text)


def _csv(columns: pd.DataFrame | dict[str, Iterable]) -> str:
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def _cell(value: float | str | bool | None) -> str:
    if pd.isna(value):
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _percent(change: float) -> str:
    if np.isinf(change):
        return UNDEFINED
    return NOT_MEASURED if np.isnan(change) else f"{change:.2f}"
