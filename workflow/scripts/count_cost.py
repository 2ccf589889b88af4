"""Count a variant's parameters, multiply-accumulates and bytes; needs neither data nor weights."""


def count_cost(architecture, variant, structure, operations, recipe):
    from slimdit.jobs.provenance import origin
    from slimdit.models.build import compress, empty_model
    from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
    from slimdit.storage.files import write_json

    model = compress(empty_model(structure), operations)  # costs do not depend on the weights
    counts = {
        "total_params": total_params(model),
        "active_params": active_params(model),
        "macs": count_macs(model),
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
