"""Every sampler: `Sampler(diffusion, **own)`, whose `step` goes from x_k to x_{k-1}.

`needs_noise` says whether a step wants noise of the shape of x; without it, noise is None.
"""

from slimdit.core.registry import Registry

SAMPLERS = Registry(
    "sampler", __name__, {"ddpm": "ddpm.DDPM", "ddim": "ddim.DDIM"}, given=("diffusion",)
)
