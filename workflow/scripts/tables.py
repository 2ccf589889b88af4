"""Write the results tables from the JSON files of a study, and the record of the study."""

from pathlib import Path

from slimdit.jobs.provenance import origin
from slimdit.reporting.results import read_study
from slimdit.reporting.tables import study_tables
from slimdit.storage.files import read_json, sha256_of, write_json, write_text


def tables(
    architecture,
    speed,
    quality,
    training,
    reference_quality,
    autoencoder,
    record_only,
    rows: list[dict],
    paper: dict[str, dict[str, str]],
    speed_batch_size: int,
    config: dict,
    recipe: dict,
    study_json,
    **outputs,
):
    """Write the tables, and `study_json`, the record that they can be made again from.

    Inputs are lists of JSON files; autoencoder: the report of the study's own, if it trained one;
    record_only: files that no table has. rows: in table order. paper: the paper's own values by
    variant ({} for none). config: the study's, resolved. outputs: paths that end in the names of
    `study_tables`.
    """
    made_from = {
        "architecture": architecture,
        "speed": speed,
        "quality": quality,
        "training": training,
        "reference_quality": reference_quality,
    }
    study = read_study(rows, speed_batch_size, **made_from)
    texts = study_tables(study, paper, map(read_json, autoencoder))
    for path in map(Path, outputs.values()):
        write_text(path, texts[path.name])
    files = [path for paths in made_from.values() for path in paths] + [*autoencoder, *record_only]
    content = {
        "config": config,
        "rows": rows,
        "paper": paper,
        "speed_batch_size": speed_batch_size,
        "origin": origin(
            at=study_json,
            recipe=recipe,
            inputs={path: sha256_of(path) for path in files},
            outputs={path: sha256_of(path) for path in outputs.values()},
        ),
    }
    # The order of the variants is that of the rows.
    write_json(study_json, content, sort_keys=False)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        tables(**snakemake.input, **snakemake.params, **snakemake.output)
