"""Write the results tables from the JSON files of a study, and the record of the study."""

import json
from pathlib import Path

from slimdit.files import read_json, sha256_of, write_json, write_text
from slimdit.provenance import origin
from slimdit.results import read_rows, read_study
from slimdit.study_tables import study_tables


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
    samples,
    outputs,
    autoencoder=(),
):
    """Inputs are lists of JSON files; `rows` and `paper` are JSON strings: the rows in table order
    and the paper's own values by variant ({} for none). `code` is a digest, a reason to rerun;
    `autoencoder` the report of the study's own, if it trained one. `outputs` are paths that end in
    the names of `study_tables`."""
    study = read_study(
        read_rows(rows),
        architecture,
        speed,
        quality,
        training,
        speed_batch_size,
        difference,
        samples,
    )
    texts = study_tables(study, json.loads(paper), map(read_json, autoencoder))
    for path in map(Path, outputs):
        write_text(path, texts[path.name])


def record(study_json, files, config, rows, paper, speed_batch_size, code):
    """Write `study_json`: all that it takes to make the tables again, and the config of it all.

    `config` is the study's, resolved, as a JSON string; `rows` and `paper` are what `tables` takes.
    `files` are the study's JSON files, which are recorded by digest.
    """
    write_json(
        study_json,
        {
            "config": json.loads(config),
            "rows": json.loads(rows),
            "paper": json.loads(paper),
            "speed_batch_size": speed_batch_size,
            "files_sha256": {str(path): sha256_of(path) for path in files},
            "origin": origin(code=code),
        },
    )


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        inputs, params, outputs = map(dict, (snakemake.input, snakemake.params, snakemake.output))
        config, study_json = params.pop("config"), outputs.pop("study_json")
        del inputs["record_only"]
        tables(**inputs, **params, outputs=outputs.values())
        record(study_json, list(snakemake.input), config, **params)
