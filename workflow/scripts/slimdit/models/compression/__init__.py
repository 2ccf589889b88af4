"""Every compression of a trained model: `Kind(**own)`, called with the model, returns the model.

What a compression does to shapes and storage must not depend on the weights: loading a checkpoint
applies it to a model of the same structure and then fills in the tensors. `unsupported(device)`
says what a device lacks to run the result.
"""

from slimdit.core.registry import Registry

COMPRESSION = Registry(
    "compression",
    __name__,
    {
        "prune_heads": "prune_heads.PruneHeads",
        "int8_weight_only": "int8_weight_only.Int8WeightOnly",
        "int8_dynamic": "int8_dynamic.Int8Dynamic",
        "fp8_dynamic": "fp8_dynamic.Fp8Dynamic",
        "int4_weight_only": "int4_weight_only.Int4WeightOnly",
    },
)
