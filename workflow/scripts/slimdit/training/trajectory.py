"""What a student of few steps minimises: where its steps of sampling end, against its teacher's."""

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.devices import on_host
from slimdit.compute.precision import autocast
from slimdit.core.randomness import normal_rows, stream
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.guidance import Denoiser, Guidance, guided_steps
from slimdit.diffusion.loss_terms import TERMS
from slimdit.diffusion.process import Diffusion
from slimdit.diffusion.samplers.ddim import DDIM
from slimdit.diffusion.timesteps import chosen_timesteps
from slimdit.models.dit import DiT
from slimdit.training.objective import BatchObjective, Hyperparameters


class TrajectoryObjective(BatchObjective):
    """The loss of step s of a run and its gradients, from (seed, s) and the weights alone.

    From noise the student takes its steps of DDIM without guidance, each from where the one before
    ended; the loss of each is the mean distance, by absolute values, to where `substeps` guided
    steps of the teacher's end that begin at the same place (Zhou et al., "Simple and Fast
    Distillation of Diffusion Models", arXiv:2409.19681; there every step of the student is one of
    the optimizer). The gradients of all steps are added; none goes back through an earlier one.

    Args:
        distillation: {"substeps", the teacher's steps within one of the student's, "sampling"}: of
            the teacher {"guidance_scale", "guided_channels", "guidance_interval"}, and "steps",
            those of the student.
    """

    terms = ("loss", "distillation")

    def __init__(
        self,
        model: DiT,
        hyper: Hyperparameters,
        batches: LatentBatches,
        seed: int,
        teacher: DiT,
        distillation: dict,
        micro_batch_size: int | None = None,
    ):
        super().__init__(model, hyper, device := batches.device, seed, micro_batch_size)
        sampling, self.substeps = distillation["sampling"], distillation["substeps"]
        self.num_classes = model.num_classes
        self.shape = (model.in_channels, model.input_size, model.input_size)
        num_steps = sampling["steps"]
        self.steps, self.teachers = (
            Diffusion(hyper.num_timesteps, kept_timesteps(hyper.num_timesteps, count)).to(device)
            for count in (num_steps, num_steps * self.substeps)
        )
        self.numbers = torch.arange(self.teachers.num_steps, device=device)
        path = sampling | {"timesteps": SPACING, "steps": num_steps * self.substeps, "guide": None}
        self.is_guided = guided_steps(path, hyper.num_timesteps).tolist()
        channels = path["guided_channels"]
        self.guidance = Guidance(
            Denoiser(teacher, self.teachers, hyper.precision, device),
            None,
            float(path["guidance_scale"]),
            teacher.in_channels if channels == "all" else channels,
        )

    def __call__(self, step: int) -> tuple[Tensor, None]:
        """Add the gradients of the loss to the weights'.

        Returns the terms of the loss of the whole batch in the order of TERMS, (T,).
        """
        x, y = (drawn.to(self.device, non_blocking=True) for drawn in self.drawn(step))
        total = torch.zeros((), device=self.device)
        for rows in self.parts:
            total += self.of_part(x[rows], y[rows], rows is self.parts[-1])
        loss = self.processes.sum(total)
        return torch.stack([loss * (term in self.terms) for term in TERMS]), None

    def of_part(self, x: Tensor, y: Tensor, is_last: bool) -> Tensor:
        """The part's share of the loss, whose gradients are added."""
        total = torch.zeros((), device=self.device)
        fraction = len(y) / self.hyper.batch_size
        for step in reversed(range(self.steps.num_steps)):
            with self.processes.without_exchange(self.model, not (is_last and step == 0)):
                end = self.step(x, y, step)
                loss = (end - self.path_end(x, y, step)).abs().mean() * fraction
                # Exchanged gradients are means over the processes.
                (loss / self.steps.num_steps * self.processes.size).backward()
            x = end.detach()
            total += loss.detach() / self.steps.num_steps
        return total

    def step(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        """Where the student's step from x, (B, C, H, W), ends."""
        k = self.numbers[step : step + 1]
        with autocast(self.device, self.dtype):
            output = self.predict(x, self.steps.timesteps[k].expand(len(y)), y).output
        eps, v = output.float().chunk(2, dim=1)
        return DDIM(self.steps).step(x, k, eps, v, None)[0]

    @torch.no_grad()
    def path_end(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        """Where the teacher's steps within the student's from x, (B, C, H, W), end."""
        classes = self.guidance.classes(y)
        for within in reversed(range(step * self.substeps, (step + 1) * self.substeps)):
            k = self.numbers[within : within + 1]
            eps, v, _ = self.guidance(x, k, classes, self.is_guided[within])
            (x,) = DDIM(self.teachers).step(x, k, eps, v, None)
        return x

    def draw(self, step: int) -> list[Tensor]:
        """Noise (B, C, H, W) and labels (B,) of this process's rows."""
        own = slice(self.rows.start, self.rows.stop)
        noise = normal_rows(self.seed, "noise", step, self.rows, self.shape)
        random = stream(self.seed, "label", step)
        labels = random.integers(0, self.num_classes, self.hyper.batch_size)
        return [on_host(array, self.device) for array in (noise, labels[own])]


SPACING = "trailing"  # of which the timesteps of few steps are among those of several times as many


def kept_timesteps(num_timesteps: int, num_steps: int) -> np.ndarray:
    return chosen_timesteps(SPACING, num_timesteps, num_steps)
