"""Apply compressions (pruning, quantization) to a trained parent's weights."""

import json


def compress(parent, checkpoint, variant, seed, operations, code):
    from slimdit.jobs.provenance import conditions
    from slimdit.models import build
    from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
    from slimdit.storage.files import sha256_of

    operations, metadata = json.loads(operations), read_metadata(parent)
    model = build.compress(load_variant(parent), operations)
    where_from = conditions(
        code=code,
        variant=variant,
        seed=seed,
        parent=metadata["origin"].get("variant"),
        parent_sha256=sha256_of(parent),
    )
    save_variant(
        checkpoint, model, metadata["structure"], metadata["operations"] + operations, where_from
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        compress(**snakemake.input, **snakemake.params, **snakemake.output)
