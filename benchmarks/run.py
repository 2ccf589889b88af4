"""Whether every saving is one on the clock: SlimDiT's paths against plain ones and each other.

    python benchmarks/run.py
    python benchmarks/run.py --case sampler S2-shallow --num-runs 5 --out smoke.json

Both sides of a ratio are timed in turns in one run, after their outputs were found equal. Prints a
table and writes JSON. A target that is missed is shown, and is no error.
"""

import argparse
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch
from cases.distance import frechet
from cases.latents import latent_batches
from cases.mixture import mixture
from cases.sampler import int8_sampler, sampler
from cases.startup import dry_run, job_start
from cases.training import training_step
from cases.variants import against_base

from slimdit.devices import device
from slimdit.files import write_json
from slimdit.provenance import origin


class Case(NamedTuple):
    """measure(num_runs, device) gives "speedup", which should be at least `at_least`, or "wall_s",
    which should be at most `at_most_s`."""

    measure: Callable[[int, torch.device], dict]
    at_least: float | None = None
    at_most_s: float | None = None


CASES = {
    "sampler": Case(sampler, at_least=1.7),
    "sampler-int8": Case(int8_sampler, at_least=1.7),
    "training-step": Case(training_step, at_least=1.4),
    "latent-batches": Case(latent_batches, at_least=50),
    "mixture": Case(mixture, at_least=2),
    "frechet": Case(frechet, at_least=2),
    **{
        variant: Case(functools.partial(against_base, variant), at_least=target)
        for variant, target in {
            "S2-shallow": 1.15,
            "S2-fg-6": 1.15,
            "S2-fg-3": 1.12,
            "S2-med-4": 1.04,
            "S2-med-16": 1.04,
            "S2-prune-3": 1.15,
            "Q8dyn-S2": 1.2,
        }.items()
    },
    "dry-run": Case(dry_run, at_most_s=5),
    "job-start": Case(job_start, at_most_s=6),
}


def main() -> None:
    arguments = parsed_arguments()
    on, results = device(), {}
    where_from = origin()
    out = arguments.out or default_path(where_from["device"])
    print(f"{'':16}{'measured':>10}{'target':>10}   met   what", flush=True)
    for name in arguments.case:
        case = CASES[name]
        result = case.measure(arguments.num_runs, on)
        results[name] = judged(case, result)
        print(line(name, results[name]), flush=True)
        write_json(out, {"cases": results, "num_runs": arguments.num_runs, "origin": where_from})
    print(f"\nWritten to {out}.")


def judged(case: Case, result: dict) -> dict:
    """The result with its target and whether it was met."""
    if case.at_least is not None:
        met = result["speedup"] >= case.at_least
        return {"target_speedup": case.at_least, "met": met, **result}
    return {"target_wall_s": case.at_most_s, "met": result["wall_s"] <= case.at_most_s, **result}


def line(name: str, result: dict) -> str:
    if "speedup" in result:
        numbers = f"{result['speedup']:>9.2f}x{result['target_speedup']:>9.2f}x"
    else:
        numbers = f"{result['wall_s']:>8.1f} s{result['target_wall_s']:>8.1f} s"
    return f"{name:16}{numbers}   {'yes' if result['met'] else 'no':3}   {result['what']}"


def default_path(device_name: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")
    return Path("docs/measurements") / f"bench-{slug}.json"


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--num-runs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
