"""Every operation on a trained model: `Kind(**own)`, called with the model, returns the model.

What an operation does to shapes and storage must not depend on the weights: loading a checkpoint
applies it to a model of the same structure and then fills in the tensors.
"""

from slimdit.surgery.int8_weight_only import Int8WeightOnly
from slimdit.surgery.prune_heads import PruneHeads

SURGERY = {"prune_heads": PruneHeads, "int8_weight_only": Int8WeightOnly}
