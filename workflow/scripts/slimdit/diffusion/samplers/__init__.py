"""Every sampler: `Sampler(diffusion, **own)`, whose `step` goes from x_k to x_{k-1}.

    step(x, k, eps, v, noise, *carried) -> x_{k-1}, *carried

x, eps (predicted noise), v (predicted variance, as in `Diffusion.log_variance`): (B, C, H, W);
k: (1,) or (B,). `needs_noise` says whether a step wants noise of the shape of x; without it, noise
is None; `needs_variance`, whether it takes the learned variance v. `num_carried` says how many
tensors of the shape of x go from a step to the next; at the first step they are zero. The step is a
part of one compiled graph: no branch on values, no wait.
"""

from slimdit.core.registry import Registry

SAMPLERS = Registry(
    "sampler",
    __name__,
    {
        "ddpm": "ddpm.DDPM",
        "ddim": "ddim.DDIM",
        "dpmpp_2m": "dpmpp_2m.DPMpp2M",
        "unipc": "unipc.UniPC",
    },
    given=("diffusion",),
)
