"""Every sampler: `Kind(diffusion, **own)`, a step from x_k to x_{k-1}."""

from slimdit.samplers.ddim import DDIM
from slimdit.samplers.ddpm import DDPM

SAMPLERS = {"ddpm": DDPM, "ddim": DDIM}
