"""Latents from noise: image i depends on (seed, i, its label) alone, not on its batch."""

import functools
from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.ahead import Ahead
from slimdit.compute.compiler import compiles
from slimdit.compute.devices import on_host, to_device
from slimdit.compute.kernel_graphs import GRAPHED, is_graphed
from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.diffusion.caches.block_values import Kept
from slimdit.diffusion.guidance import Denoiser, Guidance, cache_of, guidance_scales, guided_steps
from slimdit.diffusion.guides import INPUT
from slimdit.diffusion.process import Diffusion
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.diffusion.timesteps import chosen_timesteps
from slimdit.models.dit import DiT


def labels_for(num_samples: int, num_classes: int, mode: str, seed: int) -> np.ndarray:
    """Class of each image, int64: `balanced` takes turns, `random` draws uniformly."""
    if mode == "balanced":
        return np.arange(num_samples) % num_classes
    return stream(seed, "labels").integers(0, num_classes, num_samples)


def noise_for(
    seed: int, what: str, indices: np.ndarray, shape: tuple[int, ...], *k: int
) -> np.ndarray:
    """One stream an image: (len(indices), *shape) float32."""
    draws = [stream(seed, what, int(i), *k).standard_normal(shape, np.float32) for i in indices]
    return np.stack(draws)


class LatentSampler:
    """Samples latents from a model.

    Args:
        sampling: {"sampler", "steps", "timesteps", "guidance_scale", "guided_channels",
            "guidance_interval", "guide", "cache", "seed", "batch_size", "compile", "precision",
            and the sampler's own options under "options"}. timesteps names which ones are visited.
            guided_channels is "all", or how many of the first channels are guided (DiT's sampler
            guides 3). guidance_interval, of noise levels sigma / alpha, is (low, high) or None.
            cache is {"name", **its own options} or None.
            compile ("auto": on CUDA) and precision (as `chosen_dtype` reads it) are of the
            model, whose weights are converted in place; the chain's state is float32.
        num_timesteps: of the training's diffusion.
        guide: the model that guides, where `sampling` names one that is not INPUT.
    """

    def __init__(
        self,
        model: DiT,
        sampling: dict,
        num_timesteps: int,
        device: torch.device,
        guide: DiT | None = None,
    ):
        self.device, self.seed = device, sampling["seed"]
        self.shape = (model.in_channels, model.input_size, model.input_size)
        channels = sampling["guided_channels"]
        guided_channels = model.in_channels if channels == "all" else int(channels)
        if guided_channels > model.in_channels:
            raise InputError(
                f"sampling.guided_channels {channels} is more than the latent's "
                f"{model.in_channels} channels."
            )
        kept = chosen_timesteps(sampling["timesteps"], num_timesteps, sampling["steps"])
        self.diffusion = diffusion = Diffusion(num_timesteps, kept).to(device)
        named = {"name": sampling["sampler"], **sampling.get("options", {})}
        self.sampler = SAMPLERS.build(named, diffusion)
        self.is_compiled = compiles(sampling["compile"], device)
        self.batch_size = sampling["batch_size"]
        self.is_guided = guided_steps(sampling, num_timesteps).tolist()
        if cache := cache_of(sampling, num_timesteps):
            cache = cache.to(device)
        self.num_kept = cache.num_kept if cache else 0
        self.is_full = cache.is_full.tolist() if cache else [True] * diffusion.num_steps
        told = guidance_scales(sampling, num_timesteps) if sampling["guide"] == INPUT else None
        precision = sampling["precision"]
        denoiser = Denoiser(model, diffusion, precision, device, cache, told)
        guiding = guide and Denoiser(guide, diffusion, precision, device, cache)
        scale = float(sampling["guidance_scale"])
        self.guidance = Guidance(denoiser, guiding, scale, guided_channels)
        self.dtype = denoiser.dtype

    @torch.inference_mode()
    def latents(
        self, indices: np.ndarray, labels: np.ndarray, stream_name: str = "image"
    ) -> Tensor:
        """Images `indices` of classes `labels` -> (B, C, H, W) float32 on the device."""
        ((x, _),) = deque(self.steps(indices, labels, stream_name), maxlen=1)
        return x[: len(indices)]

    @torch.inference_mode()
    def steps(
        self, indices: np.ndarray, labels: np.ndarray, stream_name: str
    ) -> Iterator[tuple[Tensor, tuple[Kept, Kept]]]:
        """Of each step the images that it gives, padded ones among them, and what a full one keeps
        of the model's pass and of the guide's."""
        indices, labels = self.padded(indices), self.padded(labels)

        def noise(what: str, *k: int) -> Tensor:
            array = noise_for(self.seed, f"{stream_name}/{what}", indices, self.shape, *k)
            return on_host(array, self.device)

        last = self.diffusion.num_steps - 1
        x = noise("start").to(self.device)
        classes = self.guidance.classes(to_device(np.asarray(labels), self.device))
        k = torch.tensor([last], device=self.device)
        step = self.compiled_step if self.is_compiled else self.step
        carried = [torch.zeros_like(x) for _ in range(self.sampler.num_carried)]
        kept: tuple = ()
        drawn = Ahead(lambda done: noise("step", last - done), self.diffusion.num_steps)
        for done in range(self.diffusion.num_steps):
            z = drawn(done).to(self.device, non_blocking=True) if self.sampler.needs_noise else None
            is_guided, is_full = self.is_guided[last - done], self.is_full[last - done]
            given = () if is_full else kept
            x, k, to_keep, *carried = step(x, k, classes, z, is_guided, given, *carried)
            if is_full:
                kept = (to_keep, *kept)[: self.num_kept]
            yield x, to_keep

    def padded(self, values: np.ndarray) -> np.ndarray:
        """`values`, repeated up to the batch size that a compiled step is for."""
        return np.resize(values, max(len(values), self.batch_size * self.is_compiled))

    @functools.cached_property
    def compiled_step(self):
        """`step` compiled, one graph for each kind of step, guided or not, full or cached; for few
        images on CUDA its kernels are a graph too."""
        mode = GRAPHED if is_graphed(self.batch_size, self.device) else None
        step = torch.compile(
            self.step, fullgraph=True, dynamic=False, isolate_recompiles=True, mode=mode
        )
        # What a graph of kernels returns is overwritten by its next run.
        return (lambda *inputs: _copied(step(*inputs))) if mode else step

    def step(
        self,
        x: Tensor,
        k: Tensor,
        classes: tuple[Tensor, Tensor],
        noise: Tensor | None,
        is_guided: bool,
        kept: tuple,
        *carried: Tensor,
    ) -> tuple:
        """x, noise, each of carried: (B, C, H, W); k: (1,); classes: as `Guidance.classes` gives
        them; kept: as `Guidance` takes it, nothing for a full step -> x_{k-1}, k - 1, what is to be
        kept of a full step, the next carried."""
        eps, v, to_keep = self.guidance(x, k, classes, is_guided, kept)
        x, *carried = self.sampler.step(x, k, eps, v, noise, *carried)
        return x, k - 1, to_keep, *carried


def _copied(output):
    """A tensor, or tuples of them in any depth."""
    return output.clone() if isinstance(output, Tensor) else tuple(map(_copied, output))
