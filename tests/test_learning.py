"""A tiny DiT learns sixteen latents by heart, and its sampler gives them back."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from latent_cache import write_latent_cache
from subjects import PHOTOS

from slimdit.core.randomness import stream
from slimdit.data.latents import MEAN, LatentBatches, LatentCache
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for
from slimdit.diffusion.loss_terms import TERMS
from slimdit.models.build import build_model
from slimdit.storage.resume_checkpoints import ResumeCheckpoints
from slimdit.study.study import identity
from slimdit.training.loop import Run, fit
from slimdit.training.objective import Hyperparameters, Objective

CPU = torch.device("cpu")
SEED = 0
NUM_LATENTS, NUM_CLASSES, NUM_SAMPLES = 16, 4, 64
SHAPE = (4, 4, 4)  # C, H, W
STRUCTURE = PHOTOS.structure("S2-base") | {
    "depth": 2,
    "hidden_size": 64,
    "num_heads": 4,
    "num_classes": NUM_CLASSES,
    "in_channels": SHAPE[0],
    "input_size": SHAPE[1],
}
HYPER = Hyperparameters(
    **identity(PHOTOS.config["training"])
    | {
        "steps": 400,
        "batch_size": 128,
        "learning_rate": 8e-3,
        "ema_decay": 0.98,
        "precision": "float32",
        "compile": "off",
    }
)
SAMPLING = PHOTOS.config["sampling"] | {
    "sampler": "ddim",
    "steps": 20,
    "timesteps": "linspace",
    "guidance_scale": 1.5,
    "precision": "float32",
    "compile": "off",
}
LABELS = labels_for(NUM_SAMPLES, NUM_CLASSES, "balanced", SEED)


def latents():
    """(16, C, H, W) of mean 0 and variance 1, the channels' means those of their class."""
    random = stream(SEED, "learned latents")
    of_class = random.standard_normal((NUM_CLASSES, SHAPE[0], 1, 1))
    x0 = of_class[np.arange(NUM_LATENTS) % NUM_CLASSES]
    x0 = x0 + random.standard_normal((NUM_LATENTS, *SHAPE))
    return (x0 - x0.mean()) / x0.std()


class Learned(NamedTuple):
    """What a training gives: errors of the noise that its last weights and their moving average
    predict, and samples (64, C, H, W) of the moving average."""

    last_mse: float
    average_mse: float
    samples: np.ndarray


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")
    moments = np.zeros((NUM_LATENTS, 2, 2, *SHAPE))
    moments[:, :, MEAN] = latents()[:, None]
    cache = LatentCache(*write_latent_cache(folder, NUM_LATENTS, moments, num_classes=NUM_CLASSES))
    batches = LatentBatches(cache, HYPER.batch_size, flip=False, seed=SEED, device=CPU)
    model = build_model(STRUCTURE, SEED).train()
    run = Run(model, TERMS, HYPER.learning_rate, HYPER.ema_decay, 0.0, HYPER.adam_betas)
    objective = Objective(model, HYPER, batches, SEED)
    states = ResumeCheckpoints(folder / "states", "learning")
    fit(run, HYPER.steps, objective, states, HYPER.log_every_steps, HYPER.steps)

    last_mse = mse_of_next_steps(objective)
    average = run.averaged_model()
    generator = LatentSampler(average, SAMPLING, HYPER.num_timesteps, CPU)
    samples = generator.latents(np.arange(NUM_SAMPLES), LABELS).numpy()
    return Learned(last_mse, mse_of_next_steps(objective), samples)


@torch.no_grad()
def mse_of_next_steps(objective):
    batches = [objective.batch(HYPER.steps + i) for i in range(8)]
    terms = [objective.losses(batch, None)[0] for batch in batches]
    return torch.stack(terms).mean(0)[TERMS.index("mse")].item()


def distances(samples):
    """From each sample to each latent, root mean squares over the elements: (64, 16)."""
    return np.sqrt(np.square(samples[:, None] - latents()).mean(axis=(2, 3, 4)))


def distance_to_class(samples):
    """From a sample to the nearest latent of its class, the mean over the samples."""
    own = LABELS[:, None] == np.arange(NUM_LATENTS) % NUM_CLASSES
    return np.where(own, distances(samples), np.inf).min(axis=1).mean()


def of_channels(statistic, x):
    """Of each class, (classes, C); x: images whose classes take turns."""
    return np.stack([statistic(x[c::NUM_CLASSES], axis=(0, 2, 3)) for c in range(NUM_CLASSES)])


def test_the_error_is_far_below_that_of_no_noise(learned):
    """Whoever predicts no noise, as the untrained model does, has an error of 1."""
    assert learned.average_mse < 0.1


def test_the_moving_average_predicts_better_than_the_last_weights(learned):
    assert learned.average_mse < 0.9 * learned.last_mse


def test_samples_are_near_the_latents_of_their_class(learned):
    """Noise is 1.3 away from them."""
    assert distance_to_class(learned.samples) < 0.65
    nearest = distances(learned.samples).argmin(axis=1)
    assert (nearest % NUM_CLASSES == LABELS).mean() > 0.9


@pytest.mark.parametrize(("statistic", "bound"), [(np.mean, 0.2), (np.std, 0.25)])
def test_channels_of_samples_are_those_of_their_class(learned, statistic, bound):
    """Noise is 0.75 away in the means, and 0.35 in the deviations."""
    found, true = (of_channels(statistic, x) for x in (learned.samples, latents()))
    assert np.sqrt(np.square(found - true).mean()) < bound
