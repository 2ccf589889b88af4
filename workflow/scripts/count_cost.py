"""Count a variant's parameters, bytes, and multiply-accumulates of a pass and of an image; needs
neither data nor weights."""


def count_cost(architecture, variant, structure, operations, sampling, recipe):
    from slimdit.diffusion.latent_sampler import num_passes
    from slimdit.jobs.provenance import origin
    from slimdit.models.build import compress, empty_model
    from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
    from slimdit.storage.files import write_json

    model = compress(empty_model(structure), operations)  # costs do not depend on the weights
    macs, passes = count_macs(model), num_passes(sampling)
    counts = {
        "total_params": total_params(model),
        "active_params": active_params(model),
        "macs": macs,
        "passes_per_image": passes,
        "macs_per_image": passes * macs,
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
