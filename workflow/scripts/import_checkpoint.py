"""A published checkpoint as a row's weights, if it is what the config says."""


def import_checkpoint(checkpoint, variant, seed, structure, pretrained, recipe, files=()):
    """pretrained: {"source", "revision", "format"}. files: those of a source that is not on the
    hub, again."""
    from pathlib import Path

    from slimdit.jobs.provenance import conditions
    from slimdit.models.build import empty_model
    from slimdit.models.checkpoint import save_variant
    from slimdit.models.published import FORMATS
    from slimdit.models.published.format import check_structure
    from slimdit.models.published.source import source_files
    from slimdit.storage.files import sha256_of

    source, revision = pretrained["source"], pretrained["revision"]
    found = source_files(source, revision, f"variants.{variant}.pretrained")
    digests = {path: sha256_of(path) for path in found}
    place = found[-1] if len(found) == 1 else found[-1].parent
    format = FORMATS.build({"name": pretrained["format"]})
    published = format.read(place, structure["num_heads"])
    check_structure(published.structure, structure, source)
    model = empty_model(structure)
    model.load_state_dict(published.state)
    where_from = conditions(
        at=checkpoint,
        recipe=recipe,
        inputs=digests if files else None,
        source={
            "name": str(source),
            "revision": revision,
            "sha256": {Path(path).name: digest for path, digest in digests.items()},
        },
        variant=variant,
        seed=seed,
    )
    save_variant(checkpoint, model, structure, [], where_from)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        import_checkpoint(**snakemake.input, **snakemake.params, **snakemake.output)
