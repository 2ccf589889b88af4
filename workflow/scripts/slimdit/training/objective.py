"""What a diffusion run minimises, step by step."""

import dataclasses
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from slimdit.compute.ahead import Ahead
from slimdit.compute.compiler import compiles
from slimdit.compute.devices import on_host
from slimdit.compute.precision import autocast, chosen_dtype
from slimdit.compute.process_group import Processes
from slimdit.core.randomness import normal_rows, stream
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.loss_terms import TERMS
from slimdit.diffusion.process import Diffusion
from slimdit.models.component import store_weights
from slimdit.models.dit import DiT, Prediction


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """How a run is trained; the same for every variant unless a variant's block says otherwise."""

    steps: int
    batch_size: int
    learning_rate: float
    cooldown_fraction: float
    adam_betas: tuple[float, float]
    weight_decay: float
    ema_decay: float
    label_dropout: float
    horizontal_flip: bool
    num_timesteps: int
    balance_weight: float
    precision: str  # as `chosen_dtype` reads it
    compile: str  # "auto": on CUDA
    log_every_steps: int

    def learning_rate_at(self, step: int) -> float:
        """Of the update after `step` updates: constant, and over the last `cooldown_fraction` of
        the steps falling linearly towards zero (Hägele et al., "Scaling Laws and Compute-Optimal
        Training Beyond Fixed Training Durations", arXiv:2405.18392)."""
        cooldown_steps = self.cooldown_fraction * self.steps
        left = (self.steps - step) / cooldown_steps if cooldown_steps else 1.0
        return self.learning_rate * min(1.0, left)


class Lessons(NamedTuple):
    """What a teacher teaches: by the weight alpha in the place of the data its noise, and with
    `variance` its variance; by the weight `features`, falling to 0, what its last block gives."""

    alpha: float = 0.0
    variance: bool = False
    features: float = 0.0


OUTLIER = 2.0  # standard deviations


class Batch(NamedTuple):
    """Latents x0, noised to xt at the timesteps k by eps, of the labels y; beta: 1 / scale of
    guidance, where the model takes it.

    x0, xt, eps: (B, C, H, W); k, y, beta: (B,).
    """

    x0: Tensor
    xt: Tensor
    k: Tensor
    eps: Tensor
    y: Tensor
    beta: Tensor | None = None

    def part(self, rows: slice) -> "Batch":
        return Batch(*(tensor if tensor is None else tensor[rows] for tensor in self))


class BatchObjective:
    """What all objectives have: this process's rows of a batch, drawn ahead and taken in parts of
    at most `micro_batch_size`, and the model that is trained, as `predict`."""

    def __init__(
        self,
        model: DiT,
        hyper: Hyperparameters,
        device: torch.device,
        seed: int,
        micro_batch_size: int | None,
    ):
        self.hyper, self.device, self.seed = hyper, device, seed
        self.processes = Processes()
        self.rows = self.processes.rows(hyper.batch_size)
        self.parts = parts_of(len(self.rows), micro_batch_size)
        self.drawn = Ahead(self.draw, hyper.steps)
        self.model = self.processes.replicated(model)
        self.dtype = chosen_dtype(hyper.precision, model.hidden_size, device)
        self.is_compiled = compiles(hyper.compile, device)
        self.predict = compiled(self.model) if self.is_compiled else self.model

    def draw(self, step: int) -> list[Tensor]:
        """The host's part of the rows at `step`."""
        raise NotImplementedError


class Objective(BatchObjective):
    """The loss of step s of a run and its gradients, from (seed, s) and the weights alone.

    Timesteps, noise and label drops are the same for every variant, so that losses form pairs;
    a teacher, whose weights are converted in place to the type of the passes, sees the same noised
    latents and the same dropped labels as its student. A batch is
    shared by the processes, and taken in parts of at most `micro_batch_size`: the gradients are
    those of the whole, to rounding.

    A model that takes guidance learns with beta e(x, c, beta) + (1 - beta) e(x, null, 1) what
    others learn with their noise e(x, c): to predict what guidance of scale 1 / beta would (Chen et
    al., "Visual Generation Without Guidance", arXiv:2501.15420). Under a teacher the noise for the
    null class is the teacher's; its difference to the teacher's noise is beta times that of the
    model's to the teacher's guided noise (Meng et al., "On Distillation of Guided Diffusion
    Models", arXiv:2210.03142).
    """

    def __init__(
        self,
        model: DiT,
        hyper: Hyperparameters,
        batches: LatentBatches,
        seed: int,
        teacher: DiT | None = None,
        distillation: Mapping | None = None,
        micro_batch_size: int | None = None,
    ):
        """distillation: {"alpha", ...} as `Lessons` has them, with a teacher."""
        super().__init__(model, hyper, batches.device, seed, micro_batch_size)
        self.batches, self.null_class = batches, model.null_class
        taught = distillation if teacher else {}
        self.lessons = Lessons(**{key: taught[key] for key in Lessons._fields if key in taught})
        self.diffusion = Diffusion(hyper.num_timesteps).to(self.device)
        if teacher:
            store_weights(teacher, self.dtype)
        self.teach = torch.compile(teacher) if teacher and self.is_compiled else teacher
        self.routes_tokens, self.takes_guidance = model.routes_tokens, model.takes_guidance
        has_term = {"distillation": teacher is not None, "balance": model.routes_tokens}
        has_term["features"] = self.lessons.features > 0
        self.terms = [term for term in TERMS if has_term.get(term, True)]

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Add the gradients of the loss to the weights'.

        Returns the terms of the loss of the whole batch in the order of TERMS, (T,), and of a
        mixture the expert loads, (L, E).
        """
        batch, feature_weight = self.batch(step), self.feature_weight(step)
        loads = self.loads(batch) if self.routes_tokens and len(self.parts) > 1 else None
        total = torch.zeros(len(TERMS), device=self.device)
        for rows in self.parts:
            part = batch.part(rows)
            fraction = self.fraction(part)
            with self.processes.without_exchange(self.model, rows is not self.parts[-1]):
                terms, loads = self.losses(part, loads, feature_weight)
                # Exchanged gradients are means over the processes.
                (terms[0] * (fraction * self.processes.size)).backward()
            total += terms.detach() * fraction
        return self.processes.sum(total), loads

    def losses(
        self, batch: Batch, loads: Tensor | None, feature_weight: float = 0.0
    ) -> tuple[Tensor, Tensor | None]:
        """The terms of one part, and the expert loads of all, (L, E): `loads` if they are known."""
        prediction = self.prediction(batch)
        output = self.unguided(prediction.output.float(), batch)  # (B, 2C, H, W)
        mse, vb = (term.mean() for term in self.diffusion.losses(output, *batch[:4]))
        distillation, features = self.taught(prediction, output, batch)
        balance = mse.new_zeros(())
        if self.routes_tokens:
            if loads is None:
                loads = self.processes.sum(expert_loads(prediction) * self.fraction(batch))
            losses = [r.balance_loss(f) for r, f in zip(prediction.routings, loads, strict=True)]
            balance = torch.stack(losses).sum()

        alpha = self.lessons.alpha
        loss = (1 - alpha) * (mse + vb) + alpha * distillation + self.hyper.balance_weight * balance
        loss = loss + feature_weight * features
        return torch.stack([loss, mse, vb, distillation, balance, features]), loads

    def feature_weight(self, step: int) -> float:
        """Falls to 0 along a line."""
        return self.lessons.features * (1 - step / self.hyper.steps)

    @torch.no_grad()
    def loads(self, batch: Batch) -> Tensor:
        """Expert loads of the whole batch, (L, E): the balance loss of a part needs them."""
        parts = [batch.part(rows) for rows in self.parts]
        loads = [expert_loads(self.prediction(part)) * self.fraction(part) for part in parts]
        return self.processes.sum(torch.stack(loads).sum(0))

    def fraction(self, part: Batch) -> float:
        """Of the whole batch."""
        return len(part.y) / self.hyper.batch_size

    def prediction(self, batch: Batch):
        with autocast(self.device, self.dtype):
            return self.predict(batch.xt, batch.k, batch.y, batch.beta)

    def unguided(self, output: Tensor, batch: Batch) -> Tensor:
        """What a guided prediction of the batch, (B, 2C, H, W), says of it without guidance."""
        if batch.beta is None:
            return output
        null = torch.full_like(batch.y, self.null_class)
        with torch.no_grad(), autocast(self.device, self.dtype):
            others = (self.teach or self.predict)(batch.xt, batch.k, null).output.float()
        guided, v = output.chunk(2, dim=1)
        beta = batch.beta.view(-1, 1, 1, 1)
        return torch.cat([beta * guided + (1 - beta) * others.chunk(2, dim=1)[0], v], dim=1)

    def batch(self, step: int) -> Batch:
        """This process's rows of the batch."""
        on_device = (drawn.to(self.device, non_blocking=True) for drawn in self.drawn(step))
        k, eps, dropped, beta, *latents = on_device
        x0, labels = self.batches.latents(*latents)
        y = torch.where(dropped, self.null_class, labels)
        beta = torch.where(dropped, 1.0, beta) if self.takes_guidance else None
        return Batch(x0, self.diffusion.add_noise(x0, k, eps), k, eps, y, beta)

    def draw(self, step: int) -> list[Tensor]:
        """The host's part of `batch`: timesteps (B,), noise (B, C, H, W), which labels are dropped
        to the null class (B,), beta in (0, 1] (B,), and what the latents are made of."""
        hyper, own = self.hyper, slice(self.rows.start, self.rows.stop)
        k = stream(self.seed, "timestep", step).integers(0, hyper.num_timesteps, hyper.batch_size)
        drop = stream(self.seed, "label drop", step).random(hyper.batch_size) < hyper.label_dropout
        beta = 1 - stream(self.seed, "guidance", step).random(hyper.batch_size, np.float32)
        latents = self.batches.draw(step, self.rows)
        eps = normal_rows(self.seed, "noise", step, self.rows, latents[-1].shape[1:])
        arrays = (k[own], eps, drop[own], beta[own], *latents)
        return [on_host(array, self.device) for array in arrays]

    def taught(self, prediction: Prediction, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Differences from the teacher: of the noise in `output`, with that of the variance where
        it is taught, and of the prediction's features where they are; 0 where nothing is."""
        nothing = output.new_zeros(())
        if self.teach is None:
            return nothing, nothing
        with torch.no_grad(), autocast(self.device, self.dtype):
            target = self.teach(batch.xt, batch.k, batch.y)
        others = target.output.float()
        student_eps, teacher_eps = output.chunk(2, dim=1)[0], others.chunk(2, dim=1)[0]
        difference, features = (student_eps - teacher_eps).square().mean(), nothing
        if self.lessons.variance:
            difference = difference + self.diffusion.divergence(output, others, *batch[1:3]).mean()
        if self.lessons.features:
            features = masked_difference(prediction.features.float(), target.features.float())
        return difference, features


def masked_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features, (B, N, C), without those that are outliers among those
    of their image in either (Fang et al., "TinyFusion: Diffusion Transformers Learned Shallow",
    arXiv:2412.01199)."""
    is_usual = torch.ones_like(student, dtype=torch.bool)
    for features in (student.detach(), teacher):
        deviation = features - features.mean(dim=(1, 2), keepdim=True)
        is_usual &= deviation.abs() < OUTLIER * features.std(dim=(1, 2), keepdim=True)
    return ((student - teacher).square() * is_usual).mean()


def compiled(model: nn.Module):
    """With gradients as eagerly: else what autocast leaves in float32, such as a mixture's router,
    has its gradients in bfloat16."""
    torch._functorch.config.backward_pass_autocast = "off"
    return torch.compile(model)


def parts_of(count: int, micro_batch_size: int | None) -> list[slice]:
    """Of so many rows, as equal as can be and each at most `micro_batch_size` long."""
    num_parts = -(-count // (micro_batch_size or count))
    ends = [count * part // num_parts for part in range(num_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def expert_loads(prediction) -> Tensor:
    """The fraction of routed slots that each expert of each layer got, (L, E)."""
    return torch.stack([routing.load for routing in prediction.routings]).detach()
