"""What a study will cost, told before it is spent: python -m slimdit.plan --configfile FILE."""

import argparse
import logging
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from snakemake.utils import available_cpu_count

from slimdit.core.errors import InputError
from slimdit.core.text import aligned, duration
from slimdit.plan.jobs import PlannedJob, planned_jobs
from slimdit.plan.makespan import makespan_s
from slimdit.plan.rates import Rate, Rates, measured, recorded
from slimdit.plan.work import JobWork, StudyWork
from slimdit.study.load import configured_study
from slimdit.study.study import Study

DEVICES = (1, 4, 8)
DIGITS = 7  # of a commit
ASSUMED = (
    "assumed: every class has as many images as it may have; a step of the autoencoder's training "
    "takes three times as long as its encoding and decoding; a pass that measures speed takes as "
    "long as one of the variant's sampler",
    "not counted: metrics of the features, and all of the cutting of photographs, compression, "
    "comparisons, counts, tables and figures but the start of their processes: each takes seconds, "
    "and minutes where there are ten thousand samples",
)


@dataclass(frozen=True)
class Cost:
    """A job with its work, the seconds that it takes, and what they are made of, by timer."""

    job: PlannedJob
    work: JobWork
    seconds: float
    rates: dict[str, Rate]

    @property
    def missing(self) -> list[str]:
        return [what for what, rate in self.rates.items() if rate.unit_s is None]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    options = parser().parse_args(arguments)
    try:
        print(plan(options.configfile, options.measurements, options.save, options.shards))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m slimdit.plan", description=__doc__)
    result.add_argument("--configfile", nargs="+", default=[], help="overlays on config.yaml")
    result.add_argument("--shards", type=int, default=1, help="jobs that sample one variant")
    rates = result.add_mutually_exclusive_group()
    rates.add_argument("--measurements", metavar="FILE", help="plan with rates that --save wrote")
    rates.add_argument("--save", metavar="FILE", help="write the rates that are measured")
    return result


def plan(
    configfiles: list[str],
    measurements: str | None = None,
    save: str | None = None,
    num_shards: int = 1,
) -> str:
    """The jobs that a study has still to run in this folder, and what they cost, as text.

    Raises InputError for a study that cannot be planned and for measurements that lack a rate.
    """
    cores = available_cpu_count()
    rates = recorded(measurements) if measurements else None
    study = configured_study(configfiles)
    jobs = planned_jobs(study, configfiles, num_shards)
    if not jobs:
        return f"Study {study.name}: nothing to do, all of it is finished."
    work_of = StudyWork(study, cores).of
    todo = [(job, work_of(job)) for job in jobs]
    if rates is None:
        threads: dict[str, int] = {}
        for job, work in todo:
            for name in ("start", *work.units):
                threads.setdefault(name, job.threads(cores))
        rates = measured(study, threads)
    if save:
        rates.save(save)
    return report(study.name, [cost_of(*each, study, rates) for each in todo], rates, cores)


def cost_of(job: PlannedJob, work: JobWork, study: Study, rates: Rates) -> Cost:
    """Raises InputError for rates that lack one."""
    seconds, used = 0.0, {}
    for name, count in {"start": 1, **work.units}.items():
        rate = used[name.split()[0]] = rates.of(study, name)
        seconds += 0.0 if rate.unit_s is None else count * rate.unit_s + rate.once_s
    return Cost(job, work, seconds, used)


def report(name: str, found: list[Cost], rates: Rates, cores: int) -> str:
    """The table of `found`, the makespan, and what both rest on, as text."""
    commit = (rates.origin["commit"] or "unknown")[:DIGITS]
    where = f" ({rates.recorded_in})" if rates.recorded_in else ""
    return "\n".join(
        [
            f"Study {name}: {len(found)} jobs to run.",
            f"Measured on {rates.machine} at commit {commit}{where}.",
            "",
            *table(found),
            "",
            *totals(found, rates.is_of_gpu, cores),
            "",
            *(f"- {remark}." for remark in remarks(found, rates)),
        ]
    )


def table(found: list[Cost]) -> list[str]:
    """A line for each rule."""
    by_rule = defaultdict(list)
    for cost in found:
        by_rule[cost.job.rule].append(cost)
    rows = [("rule", "jobs", "work", "disk", "hours", "longest job")]
    for rule, its in by_rule.items():
        amount, more = sum(cost.work.amount for cost in its), " +" * any(c.missing for c in its)
        rows.append(
            (
                rule,
                f"{len(its):,}",
                f"{amount:,} {its[0].work.unit}" if amount else "",
                _size(its),
                _hours(its) + more,
                duration(max(cost.seconds for cost in its)) + more,
            )
        )
    return aligned(rows, numbers=True)


def totals(found: list[Cost], has_gpu: bool, cores: int) -> list[str]:
    """Of all jobs, and the makespan on several devices."""
    on_gpu = [cost for cost in found if has_gpu and cost.job.gpus]
    on_cpu = [cost for cost in found if not (has_gpu and cost.job.gpus)]
    longest = max(found, key=lambda cost: cost.seconds)
    jobs, seconds = [cost.job for cost in found], [cost.seconds for cost in found]
    device = "GPU" if has_gpu else "machine"
    times = [
        f"{count} {device}{'s' if count > 1 else ''} "
        f"{duration(makespan_s(jobs, seconds, count, cores))}"
        for count in DEVICES
    ]
    return [
        f"In all: {_hours(on_gpu)} GPU-hours, {_hours(on_cpu)} CPU-hours, {_size(found)} on disk.",
        f"Longest job: {longest.job.name}, {duration(longest.seconds)}.",
        f"Makespan: {', '.join(times)}; {cores} core{'s' if cores > 1 else ''} with each.",
    ]


def remarks(found: list[Cost], rates: Rates) -> Iterator[str]:
    """What was measured, scaled, assumed or left out."""
    if rates.was_busy:
        yield (
            f"the machine was busy (load {rates.origin['load_average']:.1f} on "
            f"{rates.origin['cores']} cores) when it was measured: hours may be several times "
            "too high"
        )
    notes, rules = defaultdict(dict), defaultdict(dict)
    for cost in found:
        for what, rate in cost.rates.items():
            notes[what][rate.note] = None
        for what in cost.missing:
            rules[what][cost.job.rule] = None
    for what, its in notes.items():
        how = f"not measured, {' and '.join(rules[what])} (+) without" if what in rules else ""
        said = "; ".join(filter(None, (how or "measured", *its)))
        yield f"{what}: {said}"
    yield from ASSUMED


def _size(its: list[Cost]) -> str:
    """1.97 GB; nothing for nothing."""
    value = float(sum(sum(cost.work.files.values()) for cost in its))
    units = ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value else ""


def _hours(its: list[Cost]) -> str:
    return f"{sum(cost.seconds for cost in its) / 3600:,.2f}"


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of libraries, as are these
    warnings.simplefilter("ignore")
    sys.exit(main())
