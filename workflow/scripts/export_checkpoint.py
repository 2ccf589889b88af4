"""A row's weights as diffusers saves a model."""


def export_checkpoint(checkpoint, config, weights, variant, seed, recipe):
    """Raises InputError for a model that diffusers has no place for."""
    import logging
    from pathlib import Path

    from slimdit.models.checkpoint import load_variant, read_metadata
    from slimdit.models.published import FORMATS
    from slimdit.models.published.format import exportable

    model, structure = load_variant(checkpoint), read_metadata(checkpoint)["structure"]
    format = FORMATS.build({"name": "diffusers"})
    said = format.write(Path(config).parent, exportable(model, structure, checkpoint))
    logging.getLogger(__name__).info("%s", said)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        export_checkpoint(**snakemake.input, **snakemake.params, **snakemake.output)
