"""Write the results tables from the JSON files of a study."""

import json

from slimdit.files import read_json, write_csv, write_text
from slimdit.markdown import table1_markdown
from slimdit.results import read_rows, read_study
from slimdit.table_rows import table1, table2


def tables(
    architecture,
    speed,
    quality,
    training,
    rows,
    paper,
    speed_batch_size,
    code,
    difference,
    table1_csv,
    table1_md,
    table2_csv,
    autoencoder=(),
):
    """Inputs are lists of JSON files; `rows` and `paper` are JSON strings: the rows in table order
    and the paper's own values by variant ({} for none). `code` is a digest, a reason to rerun;
    `autoencoder` the report of the study's own, if it trained one."""
    study = read_study(
        read_rows(rows), architecture, speed, quality, training, speed_batch_size, difference
    )
    paper = json.loads(paper)
    write_csv(table1_csv, *table1(study, paper))
    autoencoders = [read_json(path) for path in autoencoder]
    write_text(table1_md, table1_markdown(study, paper, autoencoders))
    write_csv(table2_csv, *table2(study, paper))


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        tables(**snakemake.input, **snakemake.params, **snakemake.output)
