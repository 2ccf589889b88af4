"""Count a variant's parameters, multiply-accumulates and bytes; needs neither data nor weights."""


def count_cost(architecture, variant, structure, operations, recipe):
    import torch

    from slimdit.jobs.provenance import origin
    from slimdit.models.build import apply_operations, build_model
    from slimdit.profiling.cost import active_params, count_macs, total_params, weight_bytes
    from slimdit.storage.files import write_json

    with torch.device("meta"):
        model = build_model(structure)
    # Costs do not depend on the values of weights: memory is set aside, nothing is computed.
    model = apply_operations(model.to_empty(device="cpu"), operations)
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
