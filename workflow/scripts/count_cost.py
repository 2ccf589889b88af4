"""Count a variant's parameters, bytes, and multiply-accumulates of a pass and of an image; needs
neither data nor weights."""


def count_cost(
    architecture, variant, structure, operations, sampling, num_timesteps, guide, recipe
):
    """guide: structure and operations of the model that guides the sampling, if one does."""
    from slimdit.diffusion.guidance import num_passes
    from slimdit.jobs.provenance import origin
    from slimdit.models.build import compress, empty_model
    from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
    from slimdit.storage.files import write_json

    model = compress(empty_model(structure), operations)  # costs do not depend on the weights
    macs, (own_passes, guide_passes) = count_macs(model), num_passes(sampling, num_timesteps)
    guide_macs = 0
    if guide:
        guide_macs = count_macs(compress(empty_model(guide["structure"]), guide["operations"]))
    counts = {
        "total_params": total_params(model),
        "active_params": active_params(model),
        "macs": macs,
        "passes_per_image": own_passes + guide_passes,
        "macs_per_image": own_passes * macs + guide_passes * guide_macs,
        "weight_bytes": weight_bytes(model),
    }
    spec = {"structure": structure, "operations": operations}
    write_json(
        architecture, {"variant": variant, **counts, "spec": spec, "origin": origin(recipe=recipe)}
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        count_cost(**snakemake.params, **snakemake.output)
