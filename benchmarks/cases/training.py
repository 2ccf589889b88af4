"""A step of training: batch, loss, gradients, optimizer, moving average."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from made_latents import write_cache
from models import BATCH_SIZE, STUDY, trained_model
from plain.diffusion import PlainDiffusion
from plain.training import PlainTraining
from plain.transformer import PlainTransformer
from ratios import largest_difference, name_of, products_alone, speedup

from slimdit.cost import count_macs
from slimdit.latents import LatentBatches
from slimdit.loop import Run
from slimdit.study import identity
from slimdit.training import TERMS, Hyperparameters, Objective

PASSES = 3  # a forward pass, and the products of its two gradients
HYPER = Hyperparameters(
    **identity(STUDY.training("S2-base"))
    | {"batch_size": BATCH_SIZE, "precision": "float32", "compile": "off"}
)


def training_step(dtype: torch.dtype, num_runs: int, device: torch.device) -> dict:
    """S2-base in `dtype`, compiled, fused and drawn anew, against one operation after the other in
    float32.

    Loss and gradients of the first batch are compared before, in float32.
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

    batch = objective.batch(0)
    loss = plain.loss(batch.x0, batch.k, batch.eps, batch.y)
    loss.backward()
    terms, _ = objective(0)
    difference = largest_difference(
        [loss.detach(), plain.model.patches.weight.grad],
        [terms[0], model.patch_embedder.weight.grad],
    )

    model.zero_grad()

    hyper = dataclasses.replace(HYPER, precision=name_of(dtype), compile="on")
    objective = Objective(model, hyper, batches, seed=0)
    run = Run(model, TERMS, hyper.learning_rate, hyper.ema_decay)

    def theirs():
        plain.step(batch.x0, batch.y)

    def ours():
        run.update(*objective(run.step))

    result = speedup(theirs, ours, num_runs, device)
    macs = PASSES * BATCH_SIZE * count_macs(model)
    torch.compiler.reset()
    return {
        "what": f"a step of S2-base in {name_of(dtype)} against a plain one",
        "batch_size": BATCH_SIZE,
        "dtype": name_of(dtype),
        "largest_difference_in_float32": difference,
        **result,
        **products_alone(macs, dtype, device, result["reference_s"]),
    }
