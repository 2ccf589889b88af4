"""Write the parameter and MAC counts of every variant, which need neither data nor weights."""

from slimdit.files import write_csv
from slimdit.results import read_rows
from slimdit.table_rows import architecture_records


def architecture_table(architecture, rows, code, table):
    """`architecture`: one architecture.json per variant; `rows`: JSON list of the table's rows;
    `code`: digest of the code, a reason to rerun."""
    write_csv(table, *architecture_records(read_rows(rows), architecture))


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        architecture_table(**snakemake.input, **snakemake.params, **snakemake.output)
