"""Every operation on a trained model: `Kind(**own)`, called with the model, returns the model.

What an operation does to shapes and storage must not depend on the weights: loading a checkpoint
applies it to a model of the same structure and then fills in the tensors. `missing(device)` says
what a device lacks to run the result.
"""

from slimdit.surgery.fp8_dynamic import Fp8Dynamic
from slimdit.surgery.int4_weight_only import Int4WeightOnly
from slimdit.surgery.int8_dynamic import Int8Dynamic
from slimdit.surgery.int8_weight_only import Int8WeightOnly
from slimdit.surgery.prune_heads import PruneHeads

SURGERY = {
    "prune_heads": PruneHeads,
    "int8_weight_only": Int8WeightOnly,
    "int8_dynamic": Int8Dynamic,
    "fp8_dynamic": Fp8Dynamic,
    "int4_weight_only": Int4WeightOnly,
}
