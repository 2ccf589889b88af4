"""Every compression of a trained model: `Compression(**own)`, called with the model."""

from slimdit.core.registry import Registry

COMPRESSION = Registry(
    "compression",
    __name__,
    {
        "prune_heads": "prune_heads.PruneHeads",
        "prune_mlp": "prune_mlp.PruneMlp",
        "prune_blocks": "prune_blocks.PruneBlocks",
        "guidance_input": "guidance_input.GuidanceInput",
        "upcycle": "upcycle.UpcycleTokenChoice",
        "upcycle_expert_choice": "upcycle.UpcycleExpertChoice",
        "fake_quantize": "fake_quantize.FakeQuantize",
        "int8_weight_only": "quantization.Int8WeightOnly",
        "int8_dynamic": "quantization.Int8Dynamic",
        "fp8_dynamic": "quantization.Fp8Dynamic",
        "int4_weight_only": "quantization.Int4WeightOnly",
    },
)
