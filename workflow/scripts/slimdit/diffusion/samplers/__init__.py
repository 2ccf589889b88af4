"""Every sampler: `Kind(diffusion, **own)`, a step from x_k to x_{k-1}."""

from slimdit.core.registry import Registry

SAMPLERS = Registry("sampler", __name__, {"ddpm": "ddpm.DDPM", "ddim": "ddim.DDIM"})
