"""Train the embedded study's small autoencoder on the subset, and say how well it restores."""

import math
import tempfile
from pathlib import Path

import numpy as np

from slimdit.core.canonical import fingerprint
from slimdit.core.randomness import stream
from slimdit.data.subset import read_images
from slimdit.storage.files import read_csv, write_json


def train_autoencoder(
    subset,
    weights,
    model_config,
    report,
    images_root,
    image_size,
    latent_channels,
    training,
    save_every_steps,
    state,
    recipe,
    images=None,
    cut=None,
):
    """training: {"steps", "batch_size", "crop_size", "learning_rate", "channels", "kl_weight",
    "free_nats", "ema_decay", "seed", "log_every_steps"}; the learning rate
    falls to zero along a cosine. On random crops: MSE + kl_weight sum_c max(KL_c, free_nats), KL_c
    of channel c per latent pixel (free bits, Kingma et al. 2016): without the floor most channels
    collapse to noise, which the diffusion would have to model.
    """
    import torch

    from slimdit.compute.devices import device, to_device
    from slimdit.data.autoencoders import to_model_range
    from slimdit.jobs.provenance import arithmetic, origin
    from slimdit.storage.files import atomic_path, sha256_of
    from slimdit.storage.resume_checkpoints import ResumeCheckpoints
    from slimdit.training.autoencoder import (
        TERMS,
        build_autoencoder,
        divergence,
        draw_crops,
        peak_signal_to_noise,
    )
    from slimdit.training.loop import Run, fit

    options = training
    key = fingerprint([recipe, arithmetic(), sha256_of(subset)])
    states = ResumeCheckpoints(state, key)
    on = device()
    rows = read_csv(subset)
    train_pictures, held_out_pictures = (
        read_images(
            [row for row in rows if row["split"] == split], images_root, image_size, split, state
        )
        for split in ("train", "held_out")
    )
    model = build_autoencoder(options["channels"], latent_channels, image_size, options["seed"]).to(
        on
    )
    run = Run(model, TERMS, options["learning_rate"], options["ema_decay"])
    if newest := states.newest():
        run.load(newest)

    def gradients(step):
        crops = draw_crops(train_pictures, options, step)
        x = to_model_range(crops, on)
        posterior = model.encode(x).latent_dist
        eps = stream(options["seed"], "posterior", step).standard_normal(
            tuple(posterior.mean.shape), np.float32
        )
        z = posterior.mean + posterior.std * to_device(eps, on)
        error = model.decode(z).sample - x
        mse, kl = error.square().mean(), divergence(posterior)
        loss = mse + options["kl_weight"] * kl.clamp(min=options["free_nats"]).sum()
        loss.backward()
        return torch.stack([loss, mse, kl.sum()]).detach(), None

    def learning_rate(step):
        return options["learning_rate"] * 0.5 * (1 + math.cos(math.pi * step / options["steps"]))

    fit(
        run,
        options["steps"],
        gradients,
        states,
        options["log_every_steps"],
        save_every_steps,
        learning_rate=learning_rate,
        remedy="make autoencoder.train.batch_size smaller",
    )
    model = run.averaged_model().eval()
    psnr_db = peak_signal_to_noise(model, held_out_pictures, on)
    with tempfile.TemporaryDirectory(dir=state) as folder:
        model.save_pretrained(folder)
        for target in map(Path, (weights, model_config)):
            with atomic_path(target) as temporary:
                temporary.write_bytes(Path(folder, target.name).read_bytes())
    write_json(
        report,
        {
            "held_out_psnr_db": psnr_db,
            "num_held_out": len(held_out_pictures),
            "steps": run.step,
            "downsample_factor": 2 ** (len(options["channels"]) - 1),
            "latent_channels": latent_channels,
            "final_losses": {term: run.history[-1][term] for term in TERMS},
            "origin": origin(
                at=report,
                recipe=recipe,
                inputs={subset: sha256_of(subset)},
                outputs={path: sha256_of(path) for path in (weights, model_config)},
            ),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        train_autoencoder(**snakemake.input, **snakemake.params, **snakemake.output)
