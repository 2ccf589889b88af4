"""Every compression of a trained model: `Compression(**own)`, called with the model."""

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
