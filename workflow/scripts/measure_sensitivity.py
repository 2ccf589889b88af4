"""Find the layers whose quantization changes most what a row's model predicts."""


def measure_sensitivity(
    parent, latents, latents_manifest, sensitivity, variant, operations, num_timesteps, recipe
):
    """sensitivity: the JSON file of the last of the `operations`, a quantization, with its
    `float_layers`, and of the errors that tell them: mean squared changes of the predicted noise,
    of each layer alone and of the whole model without and with them, over all timesteps and in
    parts of them."""
    import copy
    from functools import partial

    from slimdit.compute.devices import device
    from slimdit.core.errors import InputError
    from slimdit.data.latents import LatentCache
    from slimdit.jobs.provenance import conditions
    from slimdit.models.build import compress
    from slimdit.models.checkpoint import load_variant
    from slimdit.models.compression import COMPRESSION
    from slimdit.storage.files import sha256_of, write_json
    from slimdit.training.calibration import CalibrationLoss
    from slimdit.training.sensitivity import by_timestep, layer_changes, squared_changes, worst

    *others, last = operations
    on, quantization = device(), COMPRESSION.build(last)
    if need := quantization.unsupported(on):
        raise InputError(
            f"{variant} cannot be measured here: {last['name']} {need}; run its jobs where there "
            "is one, or leave its row out of the config."
        )
    cache = LatentCache(latents, latents_manifest)
    loss = CalibrationLoss(cache, num_timesteps, on)
    model = compress(load_variant(parent, on), others, loss)
    parts = partial(by_timestep, timesteps=loss.timesteps, num_timesteps=num_timesteps)
    changes = layer_changes(model, quantization, loss)
    errors = {name: each.mean().item() for name, each in changes.items()}
    chosen = quantization.float_layers + worst(errors, quantization.keep_float)
    exact, of_timesteps = loss.predictions(model), {}
    for name, layers in (("quantized", quantization.float_layers), ("mixed", chosen)):
        whole = compress(copy.deepcopy(model), [last | {"float_layers": layers}])
        of_timesteps[name] = parts(squared_changes(whole, exact, loss))
    write_json(
        sensitivity,
        {
            "variant": variant,
            "compression": last | {"float_layers": chosen},
            "num_images": len(exact),
            "layer_errors": errors,
            "layer_timestep_errors": {name: parts(each) for name, each in changes.items()},
            "timestep_errors": of_timesteps,
            "origin": conditions(
                at=sensitivity,
                recipe=recipe,
                inputs={parent: sha256_of(parent), latents: cache.sha256},
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        measure_sensitivity(**snakemake.input, **snakemake.params, **snakemake.output)
