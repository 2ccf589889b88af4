"""What a diffusion run minimises, step by step."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from slimdit.backbone import DiT
from slimdit.diffusion import Diffusion
from slimdit.latents import LatentBatches
from slimdit.randomness import stream

TERMS = ("loss", "mse", "vb", "distillation", "balance")


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """How a run is trained; the same for every variant unless a variant's block says otherwise."""

    steps: int
    batch_size: int
    learning_rate: float
    adam_betas: tuple[float, float]
    weight_decay: float
    ema_decay: float
    label_dropout: float
    horizontal_flip: bool
    num_timesteps: int
    balance_weight: float
    precision: str  # "auto": bfloat16 autocast on CUDA, float32 on the CPU
    compile: str  # "auto": on CUDA
    log_every_steps: int


def on_cuda(choice: str, yes: str, device: torch.device) -> bool:
    """Whether an option is on: `auto` means on CUDA."""
    return choice == yes or (choice == "auto" and device.type == "cuda")


class Objective:
    """The loss of step s of a run, from (seed, s) and the weights alone.

    Timesteps, noise and label drops are the same for every variant, so that losses form pairs;
    a teacher sees the same noised latents and the same dropped labels as its student.
    """

    def __init__(
        self,
        model: DiT,
        hyper: Hyperparameters,
        batches: LatentBatches,
        seed: int,
        teacher: DiT | None = None,
        alpha: float = 0.0,
    ):
        self.hyper, self.batches, self.seed = hyper, batches, seed
        self.teacher, self.alpha = teacher, alpha if teacher else 0.0
        self.device = batches.device
        self.null_class = model.null_class
        self.diffusion = Diffusion(hyper.num_timesteps).to(self.device)
        compiled = on_cuda(hyper.compile, "on", self.device)
        self.model = torch.compile(model) if compiled else model
        self.bfloat16 = on_cuda(hyper.precision, "bfloat16", self.device)

    def __call__(self, step: int) -> tuple[Tensor, list[Tensor]]:
        """The terms of the loss in the order of TERMS, (5,), and each MoE layer's expert load."""
        x0, labels = self.batches(step)  # (B, C, H, W), (B,)
        k, eps, y = self.draws(step, x0.shape, labels)
        xt = self.diffusion.noised(x0, k, eps)
        with self.autocast():
            prediction = self.model(xt, k, y)
        output = prediction.output.float()  # (B, 2C, H, W)
        mse, vb = (term.mean() for term in self.diffusion.losses(output, x0, xt, k, eps))
        distillation = self.distillation(output, xt, k, y)
        balance = torch.stack(prediction.balance_losses or [mse.new_zeros(())]).sum()

        alpha = self.alpha
        loss = (1 - alpha) * (mse + vb) + alpha * distillation + self.hyper.balance_weight * balance

        terms = torch.stack([loss, mse, vb, distillation, balance])
        return terms, prediction.expert_loads

    def draws(self, step: int, shape, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Timesteps (B,), noise (B, C, H, W), and labels with some dropped to the null class."""
        batch = len(labels)
        k = stream(self.seed, "timestep", step).integers(0, self.hyper.num_timesteps, batch)
        eps = stream(self.seed, "noise", step).standard_normal(tuple(shape), np.float32)
        dropped = stream(self.seed, "label drop", step).random(batch) < self.hyper.label_dropout
        k, eps, dropped = (torch.from_numpy(a).to(self.device) for a in (k, eps, dropped))
        return k, eps, torch.where(dropped, self.null_class, labels)

    def distillation(self, output: Tensor, xt: Tensor, k: Tensor, y: Tensor) -> Tensor:
        """Mean squared difference of the student's and the teacher's noise; 0 without a teacher."""
        if self.teacher is None:
            return output.new_zeros(())
        with torch.no_grad(), self.autocast():
            target = self.teacher(xt, k, y).output.float()
        student_eps, teacher_eps = output.chunk(2, dim=1)[0], target.chunk(2, dim=1)[0]
        return (student_eps - teacher_eps).square().mean()

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()
