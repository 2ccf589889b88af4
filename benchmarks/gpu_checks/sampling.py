"""The sampler compiled, for few images one graph of kernels, against the eager one."""

import functools
import time
from collections.abc import Iterator

import numpy as np
import torch
from ratios import difference

from gpu_checks.bench import Bench, kinds, tolerance
from gpu_checks.check import Check
from slimdit.compute.kernel_graphs import LARGEST_GRAPH
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.profiling.latency import clock_s

NUM_STEPS = 3
CACHE = {"name": "extrapolate"}  # its third step is made from both others
GRAPHED, LARGE = 4, 2 * LARGEST_GRAPH  # images of a batch


def checks(bench: Bench) -> Iterator[Check]:
    study = bench.shallow
    base, *others = kinds(study)

    def measure(variant: str, batch_size: int, precision: str, cache: dict | None) -> dict:
        own = {"steps": NUM_STEPS, "batch_size": batch_size, "precision": precision, "cache": cache}
        indices, samplers = np.arange(batch_size), {}
        for compiling in ("off", "on"):
            model = bench.model(study, variant)
            options = study.sampling(variant) | own | {"compile": compiling}
            sampler = LatentSampler(model, options, study.num_timesteps(variant), bench.on)
            labels = indices % model.num_classes
            samplers[compiling] = functools.partial(sampler.latents, indices, labels)
        started_s = time.perf_counter()
        latents = {compiling: sample().cpu() for compiling, sample in samplers.items()}
        compile_s = time.perf_counter() - started_s
        again = samplers["on"]().cpu()
        steps_ms = {}
        for compiling, sample in samplers.items():
            started_s = clock_s(bench.on)
            sample()
            steps_ms[compiling] = 1e3 * (clock_s(bench.on) - started_s) / NUM_STEPS
        return {
            "difference": difference(latents["off"], latents["on"]),
            "num_differing_again": int((again != latents["on"]).sum()),
            "step_ms": steps_ms["on"],
            "eager_step_ms": steps_ms["off"],
            "compile_s": compile_s,
        }

    few, many = bench.either((GRAPHED, LARGE), (2, 3))
    cases = [(base, few, "float32", None), (base, many, "bfloat16", None)]
    cases += [(variant, few, "bfloat16", None) for variant in (base, *others)]
    cases += [(variant, few, "float32", None) for variant in others]
    cases += [(base, few, "float32", CACHE), (base, many, "bfloat16", CACHE)]
    for variant, batch_size, precision, cache in cases:
        bound = tolerance(study, variant, getattr(torch, precision))
        yield Check(
            f"{variant} {batch_size} {precision}{' cached' if cache else ''}",
            functools.partial(measure, variant, batch_size, precision, cache),
            {"difference": bound, "num_differing_again": 0},
        )
