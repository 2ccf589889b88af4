"""A step of training: batch, loss, gradients, optimizer, moving average."""

import tempfile

import numpy as np
import torch
from models import BATCH_SIZE, random_latents, trained_model
from plain.diffusion import PlainDiffusion
from plain.training import PlainTraining
from plain.transformer import PlainTransformer
from ratios import matmuls_alone, speedup_apart, tolerance_of
from sides import Side

from slimdit.compute.precision import name_of
from slimdit.data.latents import LatentBatches
from slimdit.diffusion.loss_terms import TERMS
from slimdit.profiling.cost import count_macs
from slimdit.study.study import Study, identity
from slimdit.training.loop import Run
from slimdit.training.objective import Hyperparameters, Objective

PASSES = 3  # a forward pass, and the matrix multiplications of its two gradients


def training_step(study: Study, dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """S2-base in `dtype`, compiled, fused and drawn anew, against one operation after the other
    in float32.

    The loss and the patch embedder's gradient in the first step are compared.
    """
    result = speedup_apart(
        Side(plain_steps, study, device),
        Side(our_steps, study, dtype, "on", device),
        num_runs,
        tolerance_of(dtype),
    )
    macs = PASSES * BATCH_SIZE * count_macs(trained_model(study, "S2-base").to(device))
    return {
        "what": f"a step of S2-base in {name_of(dtype)} against a plain one in float32",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        **result,
        **matmuls_alone(macs, dtype, device, result["reference_s"]),
    }


def objective(study: Study, dtype: torch.dtype, compiling: str, device: torch.device) -> Objective:
    options = {"batch_size": BATCH_SIZE, "precision": name_of(dtype), "compile": compiling}
    hyper = Hyperparameters(**identity(study.training("S2-base")) | options)
    model = trained_model(study, "S2-base").to(device).train()
    with tempfile.TemporaryDirectory() as folder:
        batches = LatentBatches(random_latents(study, folder, 64), BATCH_SIZE, True, 0, device)
    return Objective(model, hyper, batches, seed=0)


def our_steps(study: Study, dtype: torch.dtype, compiling: str, device: torch.device):
    ours = objective(study, dtype, compiling, device)
    run = Run(ours.model, TERMS, ours.hyper.learning_rate, ours.hyper.ema_decay)
    gradient = ours.model.patch_embedder.weight

    def step():
        terms, loads = ours(run.step)
        outputs = [terms[0], gradient.grad]
        run.update(terms, loads)
        return outputs

    return step


def plain_steps(study: Study, device: torch.device):
    """Steps on latents of the first batch; gives its loss and gradient with the study's draws."""
    first = objective(study, torch.float32, "off", device)
    hyper, batch = first.hyper, first.batch(0)
    plain = PlainTraining(
        PlainTransformer(first.model),
        PlainDiffusion(hyper.num_timesteps, np.arange(hyper.num_timesteps)),
        hyper.learning_rate,
        hyper.ema_decay,
        hyper.label_dropout,
    )
    loss = plain.loss(batch.x0, batch.k, batch.eps, batch.y)
    loss.backward()
    outputs = [loss.detach(), plain.model.patches.weight.grad.clone()]

    def step():
        plain.step(batch.x0, batch.y)
        return outputs

    return step
