"""What every compression of a trained model says of itself."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn


class Loss(Protocol):
    """Of a model on a few training latents, always the same ones."""

    def __call__(self, model: nn.Module) -> float:
        """The mean over images."""

    def of_images(self, model: nn.Module) -> Iterator[Tensor]:
        """Of each image, some at a time, (B,), as the gradient mode says with gradients."""


class Compression:
    """Called with a model, returns the compressed model; weights may change, and what they are in.

    What it does to shapes and storage must not depend on the weights: loading a checkpoint applies
    it to a model of the same structure and then fills in the tensors.

    loss: of a model on training latents; where trained weights are compressed, it is given to a
    compression that has an option of `calibrates` with one of the values there.
    """

    needs = {}  # noqa: RUF012  # by kind of component the attribute that it rests on
    multiple_of = 1  # what hidden_size must be a multiple of
    followers = None  # names of those that can follow; None: any; (): none, nor a training
    untrainable = {}  # noqa: RUF012  # options, with the value whose weights no training keeps
    gives_guidance_input = False  # whether the model is then told the scale of guidance
    leaves = {}  # noqa: RUF012  # sizes of the structure that become those of options, by name
    calibrates = {}  # noqa: RUF012
    measured = ""  # an option that a step before the compression turns into others, unless it is 0
    loss: Loss | None = None

    def __call__(self, model: nn.Module) -> nn.Module:
        raise NotImplementedError

    def unsupported(self, device: torch.device) -> str | None:
        """What `device` lacks to run a model that this was applied to, as "needs ..."; or None."""
        return None


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """The layer of a copy of these, (out, in) and (out,)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.clone())
    return linear
