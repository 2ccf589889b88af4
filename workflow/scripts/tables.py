"""Write the results tables from the JSON files of a study, and the record of the study."""

from pathlib import Path

from slimdit.reporting.results import read_rows, read_study
from slimdit.reporting.tables import record, study_tables
from slimdit.storage.files import read_json, write_text


def tables(
    architecture,
    speed,
    quality,
    training,
    rows,
    paper,
    speed_batch_size,
    recipe,
    difference,
    samples,
    outputs,
    autoencoder=(),
):
    """Inputs are lists of JSON files; `rows` are the rows in table order, `paper`
    the paper's own values by variant ({} for none). `recipe` is a reason to rerun;
    `autoencoder` the report of the study's own, if it trained one. `outputs` are paths that end in
    the names of `study_tables`."""
    study = read_study(
        read_rows(rows),
        speed_batch_size,
        architecture=architecture,
        speed=speed,
        quality=quality,
        training=training,
        difference=difference,
        samples=samples,
    )
    texts = study_tables(study, paper, map(read_json, autoencoder))
    for path in map(Path, outputs):
        write_text(path, texts[path.name])


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        inputs, params, outputs = map(dict, (snakemake.input, snakemake.params, snakemake.output))
        config, study_json = params.pop("config"), outputs.pop("study_json")
        del inputs["record_only"]
        tables(**inputs, **params, outputs=outputs.values())
        record(study_json, list(snakemake.input), outputs.values(), config, **params)
