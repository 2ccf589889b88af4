"""float8 times float8 (Micikevicius et al., "FP8 Formats for Deep Learning", arXiv:2209.05433): one
scale a row of the weight, one a token of the input.
"""

import torch
from torch import nn

from slimdit.models.compression.quantization import TokenQuantization

CAPABILITY = (8, 9)


class Fp8Dynamic(TokenQuantization):
    """What torchao's Float8DynamicActivationFloat8WeightConfig by rows makes of a layer.

    That configuration asks for a GPU where weights are only made; they are made by hand here. On
    a CPU the results are right, but not fast.
    """

    multiple_of = 16
    dtype = torch.bfloat16  # the only one that row-wise kernels return on every GPU

    def __init__(self):
        # Only quantized variants pay for these imports.
        from torchao.quantization import Float8MMConfig, Float8Tensor, PerRow
        from torchao.quantization.quantize_.common import KernelPreference
        from torchao.quantization.quantize_.workflows import QuantizeTensorToFloat8Kwargs

        self.float8 = Float8Tensor.from_hp
        # torch's own kernels, whatever other libraries are installed: rows stay comparable.
        shared = {"granularity": PerRow(), "kernel_preference": KernelPreference.TORCH}
        self.options = {
            "mm_config": Float8MMConfig(use_fast_accum=True),
            "act_quant_kwargs": QuantizeTensorToFloat8Kwargs(**shared),
            **shared,
        }

    def quantize(self, layer: nn.Linear) -> None:
        weight = self.float8(layer.weight.detach().to(self.dtype), **self.options)
        layer.weight = nn.Parameter(weight, requires_grad=False)

    def unsupported(self, device: torch.device) -> str | None:
        if device.type != "cuda" or torch.cuda.get_device_capability(device) >= CAPABILITY:
            return None
        major, minor = torch.cuda.get_device_capability(device)
        return (
            f"needs a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell); "
            f"{torch.cuda.get_device_name(device)} has {major}.{minor}"
        )
