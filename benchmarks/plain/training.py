"""A step of training as DiT's repositories take it: batches, losses and averages one by one."""

import copy

import torch
from torch import Tensor, nn

from plain.diffusion import PlainDiffusion


class PlainTraining:
    """AdamW as torch makes it unasked, an average kept parameter by parameter, the loss read."""

    def __init__(
        self,
        model: nn.Module,
        diffusion: PlainDiffusion,
        learning_rate: float,
        ema_decay: float,
        label_dropout: float,
    ):
        self.model, self.diffusion = model, diffusion
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0)
        self.ema_decay, self.label_dropout = ema_decay, label_dropout

    def step(self, x0: Tensor, y: Tensor) -> float:
        """One step on latents (B, C, H, W) of classes (B,); returns the loss."""
        k = torch.randint(0, len(self.diffusion.kept), (len(x0),), device=x0.device)
        dropped = torch.rand(len(y), device=y.device) < self.label_dropout
        y = torch.where(dropped, self.model.num_classes, y)
        loss = self.loss(x0, k, torch.randn_like(x0), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        averages = dict(self.average.named_parameters())
        for name, parameter in self.model.named_parameters():
            averages[name].mul_(self.ema_decay).add_(parameter.data, alpha=1 - self.ema_decay)
        return loss.item()

    def loss(self, x0: Tensor, k: Tensor, eps: Tensor, y: Tensor) -> Tensor:
        xt = self.diffusion.add_noise(x0, k, eps)
        return self.diffusion.loss(self.model(xt, self.diffusion.timesteps(k), y), x0, xt, k, eps)
