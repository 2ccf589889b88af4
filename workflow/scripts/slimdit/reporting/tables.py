"""The texts of a study's tables, by the names of their files."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from slimdit.jobs.provenance import origin
from slimdit.reporting.csv_tables import architecture_csv, paper_csv, table1_csv, table2_csv
from slimdit.reporting.markdown_table import table1_markdown
from slimdit.reporting.paper_comparison import comparison, paper_markdown
from slimdit.reporting.results import FILES, StudyResults, read_study
from slimdit.storage.files import read_json, sha256_of, write_json
from slimdit.study.paper_values import PaperValues


def study_tables(
    study: StudyResults, paper: PaperValues, autoencoders: Iterable[dict] = ()
) -> dict[str, str]:
    """The tables of a finished study; those beside the paper's where there is one ({}: none)."""
    texts = {
        "table1.csv": table1_csv(study),
        "table1.md": table1_markdown(study, autoencoders),
        "table2.csv": table2_csv(study),
    }
    if paper:
        pairs = comparison(study, paper)
        texts["paper.csv"] = paper_csv(pairs)
        texts["paper.md"] = paper_markdown(study, pairs)
    return texts


def architecture_tables(
    rows: list[dict], architecture: list[str], paper: PaperValues
) -> dict[str, str]:
    """What is known before anything is trained; `architecture` are paths of JSON files."""
    counted = read_study(rows, speed_batch_size=0, architecture=architecture)
    texts = {"architecture.csv": architecture_csv(counted)}
    if paper:
        texts["architecture_paper.md"] = paper_markdown(counted, comparison(counted, paper))
    return texts


def record(study_json, files, tables, config, rows, paper, speed_batch_size, recipe):
    """Write `study_json`: all that it takes to make the tables again, and the config of it all.

    config: the study's, resolved. rows, paper: what `study_tables` takes. files: the study's JSON
    files that the tables are made from; these and the tables are recorded by digest.
    """
    write_json(
        study_json,
        {
            "config": config,
            "rows": rows,
            "paper": paper,
            "speed_batch_size": speed_batch_size,
            "origin": origin(
                at=study_json,
                recipe=recipe,
                inputs={path: sha256_of(path) for path in files},
                outputs={path: sha256_of(path) for path in tables},
            ),
        },
        sort_keys=False,  # The order of the variants is that of the rows.
    )


def tables_again(record: dict, files: list[Path]) -> dict[str, str]:
    """The tables' texts by name, made from the JSON files that they were made from."""
    named = defaultdict(list)
    for path in files:
        named[path.name].append(str(path))
    rows = record["rows"]
    paths = {name: named[f"{name}.json"] for name in FILES}
    study = read_study(rows, record["speed_batch_size"], **paths)
    paper, autoencoders = record["paper"], map(read_json, named["autoencoder.json"])
    texts = study_tables(study, paper, autoencoders)
    return texts | architecture_tables(rows, paths["architecture"], paper)
