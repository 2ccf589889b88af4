"""Latents from noise: image i depends on (seed, i, its label) alone, not on its batch."""

import functools

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.ahead import Ahead
from slimdit.compute.compiler import compiles
from slimdit.compute.devices import on_host, to_device
from slimdit.compute.kernel_graphs import GRAPHED, is_graphed
from slimdit.compute.precision import autocast
from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.diffusion.process import Diffusion
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.diffusion.timesteps import chosen_timesteps
from slimdit.models.component import store_by_precision
from slimdit.models.dit import DiT


def labels_for(num_samples: int, num_classes: int, mode: str, seed: int) -> np.ndarray:
    """Class of each image, int64: `balanced` takes turns, `random` draws uniformly."""
    if mode == "balanced":
        return np.arange(num_samples) % num_classes
    return stream(seed, "labels").integers(0, num_classes, num_samples)


def num_passes(sampling: dict) -> int:
    """Passes through the model for an image: one a step, or with guidance two."""
    return sampling["steps"] * (1 if sampling["guidance_scale"] == 1.0 else 2)


def noise_for(
    seed: int, what: str, indices: np.ndarray, shape: tuple[int, ...], *k: int
) -> np.ndarray:
    """One stream an image: (len(indices), *shape) float32."""
    draws = [stream(seed, what, int(i), *k).standard_normal(shape, np.float32) for i in indices]
    return np.stack(draws)


class LatentSampler:
    """Samples latents from a model.

    Args:
        sampling: {"sampler", "steps", "timesteps", "guidance_scale", "guided_channels", "seed",
            "batch_size", "compile", "precision", and the sampler's own options under "options"}.
            timesteps names which ones are visited. guided_channels is "all", or how many of the
            first channels are guided (DiT's sampler guides 3).
            compile ("auto": on CUDA) and precision (as `chosen_dtype` reads it) are of the
            model, whose weights are converted in place; the chain's state is float32.
        num_timesteps: of the training's diffusion.
    """

    def __init__(self, model: DiT, sampling: dict, num_timesteps: int, device: torch.device):
        self.model, self.device = model.to(device).eval(), device
        self.seed = sampling["seed"]
        self.scale = float(sampling["guidance_scale"])
        channels = sampling["guided_channels"]
        self.guided_channels = model.in_channels if channels == "all" else int(channels)
        if self.guided_channels > model.in_channels:
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
        with torch.inference_mode():
            self.timesteps = model.timestep_embedder(diffusion.timesteps)  # (K, C)
        self.dtype = store_by_precision(model, sampling["precision"], device)

    @torch.inference_mode()
    def latents(
        self, indices: np.ndarray, labels: np.ndarray, stream_name: str = "image"
    ) -> Tensor:
        """Images `indices` of classes `labels` -> (B, C, H, W) float32 on the device."""
        count = len(indices)
        indices, labels = self.padded(indices), self.padded(labels)
        shape = (self.model.in_channels, self.model.input_size, self.model.input_size)

        def noise(what: str, *k: int) -> Tensor:
            array = noise_for(self.seed, f"{stream_name}/{what}", indices, shape, *k)
            return on_host(array, self.device)

        last = self.diffusion.num_steps - 1
        x, classes = noise("start").to(self.device), self.classes(labels)
        k = torch.tensor([last], device=self.device)
        step = self.compiled_step if self.is_compiled else self.step
        carried = [torch.zeros_like(x) for _ in range(self.sampler.num_carried)]
        drawn = Ahead(lambda done: noise("step", last - done), self.diffusion.num_steps)
        for done in range(self.diffusion.num_steps):
            z = drawn(done).to(self.device, non_blocking=True) if self.sampler.needs_noise else None
            x, k, *carried = step(x, k, classes, z, *carried)
        return x[:count]

    def padded(self, values: np.ndarray) -> np.ndarray:
        """`values`, repeated up to the batch size that a compiled step is for."""
        return np.resize(values, max(len(values), self.batch_size * self.is_compiled))

    def classes(self, labels: np.ndarray) -> Tensor:
        """Embeddings of the classes, and with guidance of as many null classes: (B or 2B, C)."""
        y = to_device(np.asarray(labels), self.device)
        if self.scale != 1.0:
            y = torch.cat([y, torch.full_like(y, self.model.null_class)])
        return self.model.label_embedder(y)

    @functools.cached_property
    def compiled_step(self):
        """`step` compiled as one graph; for few images on CUDA its kernels are a graph too."""
        mode = GRAPHED if is_graphed(self.batch_size, self.device) else None
        step = torch.compile(self.step, fullgraph=True, dynamic=False, mode=mode)
        # What a graph of kernels returns is overwritten by its next run.
        return lambda *inputs: tuple(output.clone() for output in step(*inputs))

    def step(
        self, x: Tensor, k: Tensor, classes: Tensor, noise: Tensor | None, *carried: Tensor
    ) -> tuple[Tensor, ...]:
        """x, noise, each of carried: (B, C, H, W); k: (1,) -> x_{k-1}, k - 1, the next carried."""
        eps, v = self.guided(x, self.timesteps[k] + classes)
        x, *carried = self.sampler.step(x, k, eps, v, noise, *carried)
        return x, k - 1, *carried

    def guided(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Noise with classifier-free guidance, null + scale (class - null), and the variance."""
        if self.scale == 1.0:
            return self.predicted(x, c).chunk(2, dim=1)
        eps, v = self.predicted(x.repeat(2, 1, 1, 1), c).chunk(2, dim=1)
        conditional, unconditional = eps.chunk(2)
        guided = unconditional + self.scale * (conditional - unconditional)
        eps = torch.cat(
            [guided[:, : self.guided_channels], conditional[:, self.guided_channels :]], dim=1
        )
        return eps, v.chunk(2)[0]

    def predicted(self, x: Tensor, c: Tensor) -> Tensor:
        with autocast(self.device, self.dtype):
            return self.model.conditioned(x, c).output.float()
