"""What a sampler costs beside its model."""

import torch
from cases.sampler import INDICES, NUM_STEPS, SAMPLING, labels_of, num_timesteps
from models import BATCH_SIZE, made_model
from ratios import speedup

from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.profiling.latency import forward
from slimdit.study.study import Study


def outside_the_model(study: Study, sampler: str, num_runs: int, device: torch.device) -> dict:
    """The guided passes of a sampling of S2-base by themselves, as many times as fast as it is."""
    model = made_model(study, "S2-base", device)
    options = {
        "sampler": sampler,
        "timesteps": "trailing",
        "compile": "off",
        "precision": "float32",
    }
    generator = LatentSampler(model, SAMPLING | options, num_timesteps(study), device)
    x = torch.zeros(2 * BATCH_SIZE, *generator.shape, device=device)
    t, y = (torch.zeros(len(x), dtype=torch.int64, device=device) for _ in range(2))

    def passes() -> None:
        for _ in range(NUM_STEPS):
            forward(model, (x, t, y), torch.float32)

    result = speedup(passes, lambda: generator.latents(INDICES, labels_of(model)), num_runs, device)
    return {
        "what": f"{sampler} of S2-base against its passes alone, not compiled",
        "batch_size": BATCH_SIZE,
        "num_steps": NUM_STEPS,
        **result,
    }
