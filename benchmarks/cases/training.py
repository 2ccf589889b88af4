"""A step of training: batch, loss, gradients, optimizer, moving average."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from made_latents import write_cache
from models import BATCH_SIZE, STUDY, trained_model
from plain.diffusion import PlainDiffusion
from plain.training import PlainTraining
from plain.transformer import PlainTransformer
from ratios import largest_difference, speedup

from slimdit.latents import LatentBatches
from slimdit.loop import Run
from slimdit.study import identity
from slimdit.training import TERMS, Hyperparameters, Objective

HYPER = Hyperparameters(
    **identity(STUDY.training("S2-base"))
    | {"batch_size": BATCH_SIZE, "precision": "float32", "compile": "on"}
)


def training_step(num_runs: int, device: torch.device) -> dict:
    """S2-base in float32: compiled, fused and drawn anew, against one operation after the other.

    Loss and gradients of the first batch are compared before.
    """
    model = trained_model("S2-base").to(device).train()
    plain = PlainTraining(
        PlainTransformer(model),
        PlainDiffusion(HYPER.num_timesteps, np.arange(HYPER.num_timesteps)),
        HYPER.learning_rate,
        HYPER.ema_decay,
        HYPER.label_dropout,
    )
    with tempfile.TemporaryDirectory() as folder:
        batches = LatentBatches(write_cache(Path(folder), 64), BATCH_SIZE, True, 0, device)
    objective = Objective(model, HYPER, batches, seed=0)
    run = Run(model, TERMS, HYPER.learning_rate, HYPER.ema_decay)

    batch = objective.batch(0)
    loss = plain.loss(batch.x0, batch.k, batch.eps, batch.y)
    loss.backward()
    terms, _ = objective(0)
    difference = largest_difference(
        [loss.detach(), plain.model.patches.weight.grad],
        [terms[0], model.patch_embedder.weight.grad],
    )

    def theirs():
        plain.step(batch.x0, batch.y)

    def ours():
        run.update(*objective(run.step))

    result = speedup(theirs, ours, num_runs, device)
    torch.compiler.reset()
    return {
        "what": "a step of S2-base against a plain one",
        "batch_size": BATCH_SIZE,
        "largest_difference": difference,
        **result,
    }
