"""What a step of sampling asks of the models: the noise as one predicts it, or guided by another
prediction, which a step outside of an interval does without."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.precision import autocast
from slimdit.diffusion.caches import CACHES
from slimdit.diffusion.caches.block_values import Kept
from slimdit.diffusion.caches.step_cache import StepCache
from slimdit.diffusion.guides import INPUT
from slimdit.diffusion.process import Diffusion, alpha_bars
from slimdit.diffusion.timesteps import chosen_timesteps, lambdas_of
from slimdit.diffusion.velocity import VelocitySteps
from slimdit.models.component import store_by_precision
from slimdit.models.dit import DiT


class Denoiser:
    """A model's predictions at the steps of a chain. Its weights are converted in place to the type
    that `chosen_dtype` reads from `precision`. scales: of guidance at each step, (K,), where the
    model is told them; None: 1."""

    def __init__(
        self,
        model: DiT,
        diffusion: Diffusion,
        precision: str,
        device: torch.device,
        cache: StepCache | None = None,
        scales: np.ndarray | None = None,
    ):
        self.model, self.device, self.cache = model.to(device).eval(), device, cache
        self.velocity, times = None, diffusion.timesteps
        if model.velocity:
            self.velocity = VelocitySteps(diffusion, model.velocity).to(device)
            times = self.velocity.times
        with torch.inference_mode():
            self.timesteps = self.model.timestep_embedder(times)  # (K, C)
            if model.takes_guidance:
                beta = np.ones(len(times)) if scales is None else 1 / scales
                beta = torch.from_numpy(beta.astype(np.float32)).to(device)
                self.timesteps = self.timesteps + self.model.guidance_embedder(beta)
        self.dtype = store_by_precision(self.model, precision, device)

    def classes(self, y: Tensor) -> Tensor:
        """Embeddings of classes, (B,) -> (B, C)."""
        return self.model.label_embedder(y)

    def __call__(
        self, x: Tensor, k: Tensor, classes: Tensor, kept: Sequence[Kept] = ()
    ) -> tuple[Tensor, Tensor, Kept]:
        """x: (B, C, H, W); k: (1,); classes: embeddings (B, C); kept: as the cache takes it ->
        noise and variance, float32, and what the cache keeps of the pass."""
        c, to_keep = self.timesteps[k] + classes, ()
        x = self.velocity.point(x, k) if self.velocity else x
        with autocast(self.device, self.dtype):
            if self.cache is None:
                output = self.model.conditioned(x, c).output
            else:
                output, to_keep = self.cache(self.model, x, c, k, kept)
        eps, v = output.float().chunk(2, dim=1)
        return self.velocity.noise(x, eps, k) if self.velocity else eps, v, to_keep


class Guidance:
    """weak + scale (strong - weak), of the first `guided_channels` of the noise.

    strong: the model's prediction for the class. weak: its prediction for the null class (Ho &
    Salimans, "Classifier-Free Diffusion Guidance", arXiv:2207.12598), in one pass with the other;
    or that of a worse model, the guide, for the class (Karras et al., "Guiding a Diffusion Model
    with a Bad Version of Itself", arXiv:2406.02507).
    """

    def __init__(self, denoiser: Denoiser, guide: Denoiser | None, scale: float, channels: int):
        self.denoiser, self.guide = denoiser, guide
        self.scale, self.channels = scale, channels

    def classes(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the classes (B,) for the strong prediction and for the weak one."""
        if self.guide:
            return self.denoiser.classes(y), self.guide.classes(y)
        null = torch.full_like(y, self.denoiser.model.null_class)
        return self.denoiser.classes(y), self.denoiser.classes(null)

    def __call__(
        self,
        x: Tensor,
        k: Tensor,
        classes: tuple[Tensor, Tensor],
        is_guided: bool,
        kept: Sequence[tuple[Kept, Kept]] = (),
    ) -> tuple[Tensor, Tensor, tuple[Kept, Kept]]:
        """x: (B, C, H, W); k: (1,); kept: as the caches of the model and of the guide take it ->
        noise and variance, and what these caches keep."""
        own, others = classes
        kept_of_own, kept_of_guide = ([each[i] for each in kept] for i in range(2))
        if not is_guided:
            eps, v, to_keep = self.denoiser(x, k, own, kept_of_own)
            return eps, v, (to_keep, ())
        guide_to_keep: Kept = ()
        if self.guide:
            strong, v, to_keep = self.denoiser(x, k, own, kept_of_own)
            weak, _, guide_to_keep = self.guide(x, k, others, kept_of_guide)
        else:
            both, v, to_keep = self.denoiser(
                x.repeat(2, 1, 1, 1), k, torch.cat(classes), kept_of_own
            )
            (strong, weak), v = both.chunk(2), v.chunk(2)[0]
        guided = weak + self.scale * (strong - weak)
        eps = torch.cat([guided[:, : self.channels], strong[:, self.channels :]], dim=1)
        return eps, v, (to_keep, guide_to_keep)


def guidance_scales(sampling: dict, num_timesteps: int) -> np.ndarray:
    """Of each step k, 1 where it is not guided: (K,).

    With sampling["guidance_interval"], (low, high), only where low < sigma / alpha <= high
    (Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution
    Quality in Diffusion Models", arXiv:2404.07724).
    """
    kept = chosen_timesteps(sampling["timesteps"], num_timesteps, sampling["steps"])
    alpha_bar = alpha_bars(num_timesteps)[kept]
    noise_levels = np.sqrt((1 - alpha_bar) / alpha_bar)
    low, high = sampling["guidance_interval"] or (0.0, np.inf)
    is_within = (low < noise_levels) & (noise_levels <= high)
    return np.where(is_within, float(sampling["guidance_scale"]), 1.0)


def guided_steps(sampling: dict, num_timesteps: int) -> np.ndarray:
    """Of each step k, whether a second prediction guides it: bool (K,)."""
    is_guided = guidance_scales(sampling, num_timesteps) != 1.0
    return is_guided & (sampling["guide"] != INPUT)


def cache_of(sampling: dict, num_timesteps: int) -> StepCache | None:
    """What `sampling["cache"]` names, for the steps of this sampling."""
    if sampling["cache"] is None:
        return None
    kept = chosen_timesteps(sampling["timesteps"], num_timesteps, sampling["steps"])
    lambdas, is_guided = lambdas_of(num_timesteps)[kept], guided_steps(sampling, num_timesteps)
    return CACHES.build(sampling["cache"], lambdas, is_guided, steps=len(kept))


class Passes(NamedTuple):
    """How many there are: of the model, and of the guide."""

    own: int
    guide: int

    def total(self, costs: Iterable[int]) -> int:
        """Of all, where `costs` are those of one pass of the model, and of the guide's if there is
        one."""
        return sum(number * cost for number, cost in zip(self, costs, strict=False))


def num_passes(sampling: dict, num_timesteps: int) -> tuple[Passes, Passes]:
    """For an image: those that compute all blocks, and those that take blocks from a cache."""
    is_guided, cache = guided_steps(sampling, num_timesteps), cache_of(sampling, num_timesteps)
    is_full = np.ones_like(is_guided) if cache is None else cache.is_full
    return passes_of(sampling, is_guided[is_full]), passes_of(sampling, is_guided[~is_full])


def most_passes(sampling: dict, num_timesteps: int) -> Passes:
    """Of one step, where any is guided a guided one: what a cache keeps passes of."""
    return passes_of(sampling, guided_steps(sampling, num_timesteps).max(keepdims=True))


def passes_of(sampling: dict, is_guided: np.ndarray) -> Passes:
    """Of steps (K,): one each, and where it is guided another, the guide's if there is one."""
    num_steps, num_guided = len(is_guided), int(is_guided.sum())
    return Passes(num_steps, num_guided) if sampling["guide"] else Passes(num_steps + num_guided, 0)
