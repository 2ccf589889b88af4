"""Apply compressions (pruning, quantization) to a trained parent's weights."""


def compress(parent, checkpoint, variant, seed, operations, recipe):
    from slimdit.jobs.provenance import conditions
    from slimdit.models import build
    from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
    from slimdit.storage.files import sha256_of

    metadata = read_metadata(parent)
    model = build.compress(load_variant(parent), operations)
    where_from = conditions(
        at=checkpoint,
        recipe=recipe,
        inputs={parent: sha256_of(parent)},
        variant=variant,
        seed=seed,
    )
    save_variant(
        checkpoint, model, metadata["structure"], metadata["operations"] + operations, where_from
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        compress(**snakemake.input, **snakemake.params, **snakemake.output)
