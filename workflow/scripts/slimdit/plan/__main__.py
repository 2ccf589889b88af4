"""What a study will cost, told before it is spent: python -m slimdit.plan --configfile FILE."""

import argparse
import logging
import sys
import warnings
from dataclasses import asdict, dataclass

from snakemake.utils import available_cpu_count

from slimdit.core.errors import InputError
from slimdit.core.text import aligned, duration
from slimdit.plan.jobs import PlannedJob, planned_jobs
from slimdit.plan.makespan import makespan_s
from slimdit.plan.rates import Rates, measured, recorded
from slimdit.plan.work import COMPILE_S, START_S, JobWork, work_of
from slimdit.storage.files import write_json
from slimdit.study.load import configured_study

DEVICES = (1, 4, 8)
DIGITS = 7  # of a commit
ASSUMED = f"""\
- assumed: nothing else ran while it was measured; every class has as many images as it may have;
  a job starts in {START_S:.0f} s; a model compiles in {COMPILE_S:.0f} s for each batch size whose
  speed is measured; a batch that is slow on a CPU takes in proportion to a smaller one; a step of
  the autoencoder's training takes three times its encoding and decoding; a pass that measures
  speed is one of the sampler.
- not counted: small files; reading images, compiling what trains and samples, images of prompts,
  metrics of features, cutting photographs, compression, comparisons, counts, tables and figures."""


@dataclass(frozen=True)
class Cost:
    """A job with its work and the seconds that it takes."""

    job: PlannedJob
    work: JobWork
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    parser = argparse.ArgumentParser(prog="python -m slimdit.plan", description=__doc__)
    parser.add_argument("--configfile", nargs="+", default=[], help="overlays on config.yaml")
    parser.add_argument("--shards", type=int, default=1, help="jobs that sample one variant")
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--measurements", metavar="FILE", help="plan with rates that --save wrote")
    rates.add_argument("--save", metavar="FILE", help="write the rates that are measured")
    try:
        print(plan(parser.parse_args(arguments)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def plan(options: argparse.Namespace) -> str:
    """The jobs that a study has still to run in this folder, and what they cost, as text.

    Raises InputError for a study that cannot be planned and for measurements that lack a rate.
    """
    cores, study = available_cpu_count(), configured_study(options.configfile)
    rates = recorded(options.measurements) if options.measurements else None
    jobs = planned_jobs(study, options.configfile, options.shards)
    if not jobs:
        return f"Study {study.name}: nothing to do, all of it is finished."
    todo = [(job, work_of(study, job)) for job in jobs]
    if rates is None:  # with the threads of the first job that needs it
        wanted = {unit: job.threads(cores) for job, work in todo[::-1] for unit in work.units}
        rates = measured(study, wanted)
    if options.save:
        write_json(options.save, asdict(rates))
    costs = [Cost(job, work, rates.seconds_of(study, work)) for job, work in todo]
    return report(study.name, costs, rates, cores)


def report(name: str, costs: list[Cost], rates: Rates, cores: int) -> str:
    """The table of costs, their sums and the makespan, and what both rest on."""
    rows = [("rule", "jobs", "work", "disk", "hours")]
    for rule in dict.fromkeys(cost.job.rule for cost in costs):
        its = [cost for cost in costs if cost.job.rule == rule]
        amount = sum(cost.work.amount for cost in its)
        work = f"{amount:,} {'steps' if rule.startswith('train') else 'images'}" if amount else ""
        rows.append((rule, f"{len(its):,}", work, _size(its), _hours(its)))

    has_gpu = rates.origin["device"] != "cpu"
    machine = rates.origin["device" if has_gpu else "processor"] or "a CPU"
    on_gpu = [cost for cost in costs if has_gpu and cost.job.gpus]
    on_cpu = [cost for cost in costs if not (has_gpu and cost.job.gpus)]
    longest = max(costs, key=lambda cost: cost.seconds)
    jobs, seconds = [cost.job for cost in costs], [cost.seconds for cost in costs]
    times = [f"{n}: {duration(makespan_s(jobs, seconds, n, cores))}" for n in DEVICES]
    reasons = {name: why for name, why in rates.seconds.items() if isinstance(why, str)}
    return "\n".join(
        [
            f"Study {name}: {len(costs)} jobs to run.",
            f"Measured on {machine} at commit {(rates.origin['commit'] or 'unknown')[:DIGITS]}.",
            "",
            *aligned(rows),
            "",
            f"In all: {_hours(on_gpu)} GPU-hours, {_hours(on_cpu)} CPU-hours, {_size(costs)}.",
            f"Longest job: {longest.job.name}, {duration(longest.seconds)}.",
            f"Makespan on {'GPUs' if has_gpu else 'machines'}: {', '.join(times)}.",
            "",
            *(
                f"- {name} could not be measured, and is not counted: {why}."
                for name, why in reasons.items()
            ),
            ASSUMED,
        ]
    )


def _size(costs: list[Cost]) -> str:
    num_bytes = sum(sum(cost.work.files.values()) for cost in costs)
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes else ""


def _hours(costs: list[Cost]) -> str:
    return f"{sum(cost.seconds for cost in costs) / 3600:,.2f}"


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of libraries, as are these
    warnings.simplefilter("ignore")
    sys.exit(main())
