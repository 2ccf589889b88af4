"""Whether every saving is one on the clock: SlimDiT's paths against plain ones and each other.

    python benchmarks/run.py
    python benchmarks/run.py --config tests/tiny.yaml --num-runs 2 --case mixture --out smoke.json

The sides of a ratio are timed interleaved: the project's variants in one process, as its jobs are
set up, a plain model in another, as it comes. Outputs are compared first: to 1e-4 in float32, to
2e-2 where matrix multiplications are rounded. Run in the checkout. Prints a table and writes JSON.
A missed target is no error.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import torch
from cases.distance import frechet
from cases.latents import latent_batches
from cases.mixture import mixture
from cases.outside import outside_the_model
from cases.sampler import int8_sampler, sampler
from cases.startup import dry_run, job_start
from cases.training import training_step
from cases.variants import BASE, against_base
from command_line import default_path, study_and_parser

from slimdit.compute.devices import device
from slimdit.compute.precision import chosen_dtype, name_of
from slimdit.diffusion.samplers import SAMPLERS
from slimdit.jobs.launch import in_own_process
from slimdit.jobs.provenance import origin
from slimdit.storage.files import write_json
from slimdit.study.study import Study


class Case(NamedTuple):
    """measure(num_runs, device) gives "speedup", which should be at least `at_least`, or "wall_s",
    which should be at most `at_most_s`; without either it is only shown."""

    measure: Callable[[int, torch.device], dict]
    at_least: float | None = None
    at_most_s: float | None = None


VARIANTS = {
    "S2-shallow": 1.15,
    "S2-fg-6": 1.15,
    "S2-fg-3": 1.12,
    "S2-med-4": 1.04,
    "S2-med-16": 1.04,
    "S2-prune-3": 1.15,
    "Q8dyn-S2": 1.2,
}


def cases(study: Study, on: torch.device) -> dict[str, Case]:
    """What asks for equal outputs, and on a CPU the variants, in float32; the rest in the type
    that the device is fast at, with float32 beside it."""
    fast = chosen_dtype("auto", study.structure(BASE)["hidden_size"], on)
    of_variants = fast if on.type == "cuda" else torch.float32

    def variants(dtype: torch.dtype, suffix: str = "") -> dict[str, Case]:
        return {
            f"{variant}{suffix}": Case(partial(against_base, study, variant, dtype), at_least)
            for variant, at_least in VARIANTS.items()
        }

    found = {
        "sampler": Case(partial(sampler, study, torch.float32), at_least=1.7),
        "sampler-int8": Case(partial(int8_sampler, study), at_least=1.7),
        **{
            f"outside-{name}": Case(partial(outside_the_model, study, name), at_least=0.95)
            for name in SAMPLERS
        },
        "training-step": Case(partial(training_step, study, fast), at_least=1.4),
        "latent-batches": Case(partial(latent_batches, study), at_least=50),
        "mixture": Case(partial(mixture, study, fast), at_least=2),
        "frechet": Case(partial(frechet, 10_000, 2048), at_least=2),
        **variants(of_variants),
        "dry-run": Case(dry_run, at_most_s=5),
        "job-start": Case(partial(job_start, study), at_most_s=6),
    }
    if fast != torch.float32:
        found |= {
            f"sampler-{name_of(fast)}": Case(partial(sampler, study, fast)),
            f"training-step-{name_of(torch.float32)}": Case(
                partial(training_step, study, torch.float32), at_least=1.4
            ),
            f"mixture-{name_of(torch.float32)}": Case(
                partial(mixture, study, torch.float32), at_least=2
            ),
        }
    if fast != of_variants:
        found |= variants(fast, f"-{name_of(fast)}")
    return found


def main() -> None:
    on, results = device(), {}
    study, parser = study_and_parser(__doc__.split("\n\n")[0])
    known = cases(study, on)
    parser.add_argument("--case", nargs="+", choices=known, default=list(known), metavar="NAME")
    parser.add_argument("--num-runs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    where_from = origin()
    out = arguments.out or default_path("bench", where_from["device"])
    print(f"{'':22}{'measured':>10}{'target':>10}   met   what", flush=True)
    for name in arguments.case:
        case = known[name]
        results[name] = judged(case, in_own_process(case.measure, arguments.num_runs, on))
        print(line(name, results[name]), flush=True)
        write_json(out, {"cases": results, "num_runs": arguments.num_runs, "origin": where_from})
    print(f"\nWritten to {out}.")


def judged(case: Case, result: dict) -> dict:
    """The result with its target, if it has one, and whether it was met."""
    if case.at_least is not None:
        met = result["speedup"] >= case.at_least
        return {"target_speedup": case.at_least, "met": met, **result}
    if case.at_most_s is not None:
        met = result["wall_s"] <= case.at_most_s
        return {"target_wall_s": case.at_most_s, "met": met, **result}
    return result


def line(name: str, result: dict) -> str:
    if "speedup" in result:
        measured, target = f"{result['speedup']:.2f}x", result.get("target_speedup")
        target = f"{target:.2f}x" if target else ""
    else:
        measured, target = f"{result['wall_s']:.1f} s", f"{result['target_wall_s']:.1f} s"
    met = {True: "yes", False: "no", None: ""}[result.get("met")]
    what = result["what"]
    if "largest_possible_speedup" in result:
        what += f" (at this machine's peak: {result['largest_possible_speedup']:.2f}x)"
    return f"{name:22}{measured:>10}{target:>10}   {met:3}   {what}"


if __name__ == "__main__":
    main()
