"""Write the parameter and MAC counts of every variant, which need neither data nor weights."""

from pathlib import Path

from slimdit.reporting.tables import architecture_tables
from slimdit.storage.files import write_text


def architecture_table(architecture, rows, paper, recipe, outputs):
    """architecture: one architecture.json per variant. rows: the table's rows in order. paper: the
    paper's own values by variant ({} for none). outputs: paths that end in the names of
    `architecture_tables`. recipe: a reason to rerun."""
    texts = architecture_tables(rows, architecture, paper)
    for path in map(Path, outputs):
        write_text(path, texts[path.name])


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        architecture_table(**snakemake.input, **snakemake.params, outputs=snakemake.output)
