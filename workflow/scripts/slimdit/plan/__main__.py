"""What a study will cost, told before it is spent: python -m slimdit.plan --configfile FILE."""

import argparse
import logging
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass

from snakemake.utils import available_cpu_count

from slimdit.core.errors import InputError
from slimdit.plan.jobs import PlannedJob, planned_jobs
from slimdit.plan.makespan import wall_s
from slimdit.plan.speeds import Speeds, measured, recorded
from slimdit.plan.work import StudyWork, Timing, Work
from slimdit.reporting.columns import number
from slimdit.study.load import configured_study

DEVICES = (1, 4, 8)
START = Timing("start", {}, 1)  # of every job
DIGITS = 7  # of a commit
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Cost:
    """A job with its work and the seconds that it takes; missing: what of it is not measured."""

    job: PlannedJob
    work: Work
    seconds: float
    missing: tuple[str, ...]


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
    result.add_argument(
        "--shards", type=_positive, default=1, metavar="N", help="jobs that sample one variant"
    )
    speeds = result.add_mutually_exclusive_group()
    speeds.add_argument("--measurements", metavar="FILE", help="plan with speeds that --save wrote")
    speeds.add_argument("--save", metavar="FILE", help="write the speeds that are measured")
    return result


def plan(
    configfiles: list[str],
    measurements: str | None = None,
    save: str | None = None,
    shards: int = 1,
) -> str:
    """The jobs that a study has still to run in this folder, and what they cost, as text.

    Raises InputError for a study that cannot be planned and for measurements that lack a speed.
    """
    cores = available_cpu_count()
    speeds = recorded(measurements) if measurements else None
    study = configured_study(configfiles)
    _, jobs = planned_jobs(configfiles, cores, shards=shards)
    if not jobs:
        return f"Study {study.name}: nothing to do, all of it is finished."
    works = StudyWork(study)
    todo = [(job, works.of(job)) for job in jobs]
    if speeds is None:
        speeds = measured(timings(todo, lambda job: job.threads))
    else:
        speeds.check(timings(todo, _name))
    if save:
        speeds.save(save)
    return report(study.name, costs(todo, speeds), speeds, cores)


def timings(todo: list[tuple[PlannedJob, Work]], of_job) -> dict[str, tuple]:
    """What is to be timed, each once by its key, with what `of_job` says of a job it is for."""
    found = {}
    for job, work in todo:
        for timing in (START, *work.timings):
            found.setdefault(timing.key, (timing, of_job(job)))
    return found


def costs(todo: list[tuple[PlannedJob, Work]], speeds: Speeds) -> list[Cost]:
    result = []
    for job, work in todo:
        seconds, missing = 0.0, []
        for timing in (START, *work.timings):
            timed = speeds.of(timing)
            if timed.wall_s is None:
                missing.append(f"{timing.what}, not measured: {timed.note}")
            else:
                seconds += timing.count * timed.wall_s + timed.once_s
        result.append(Cost(job, work, seconds, tuple(missing)))
    return result


def report(name: str, found: list[Cost], speeds: Speeds, cores: int) -> str:
    """The table of `found` and what it is made of, as text."""
    commit = (speeds.origin["commit"] or "unknown")[:DIGITS]
    where = f" ({speeds.recorded_in})" if speeds.recorded_in else ""
    lines = [
        f"Study {name}: {len(found)} jobs to run.",
        f"Measured on {speeds.machine} at commit {commit}{where}.",
        "",
        *table(found, speeds.is_of_gpu),
        "",
        *totals(found, speeds.is_of_gpu, cores),
    ]
    if remarks := notes(found, speeds):
        lines += ["", *remarks]
    return "\n".join(lines)


def table(found: list[Cost], has_gpu: bool) -> list[str]:
    """One line a rule, and one for all."""
    by_rule = defaultdict(list)
    for cost in found:
        by_rule[cost.job.rule].append(cost)
    kinds = ("GPU-hours", "CPU-hours") if has_gpu else ("CPU-hours",)
    rows = [("rule", "jobs", "work", "disk", *kinds, "longest job")]
    rows += [_row(rule, its, has_gpu) for rule, its in by_rule.items()]
    total = _row("all", found, has_gpu)
    rows.append((*total[:2], "", *total[3:]))
    return aligned(rows)


def totals(found: list[Cost], has_gpu: bool, cores: int) -> list[str]:
    """The longest job, and the wall time on several devices."""
    longest = max(found, key=lambda cost: cost.seconds)
    jobs, seconds = [cost.job for cost in found], [cost.seconds for cost in found]
    device = "GPU" if has_gpu else "machine"
    times = [
        f"{count} {device}{'s' if count > 1 else ''} {duration(took)}"
        for count in DEVICES
        for took in [wall_s(jobs, seconds, count * cores, count)]
    ]
    return [
        f"Longest job: {_name(longest.job)}, {duration(longest.seconds)}.",
        f"Wall time: {', '.join(times)}; {cores} core{'s' if cores > 1 else ''} with each.",
    ]


def notes(found: list[Cost], speeds: Speeds) -> list[str]:
    """What was scaled, assumed or left out."""
    sizes, remarks, missing = defaultdict(set), {}, defaultdict(dict)
    for cost in found:
        for timing in cost.work.timings:
            timed = speeds.of(timing)
            if timed.batch_size != timed.measured_batch_size:
                sizes[timing.what, timed.batch_size].add(timed.measured_batch_size)
            if timed.wall_s is not None and timed.note:
                remarks[f"{timing.what}: {timed.note}."] = None
        for reason in cost.missing:
            missing[reason][cost.job.rule] = None
    scaled = [
        f"{what}: measured at batch {_range(measured_at)}, scaled to {size}."
        for (what, size), measured_at in sizes.items()
    ]
    without = [f"{' and '.join(rules)} (+) without {reason}." for reason, rules in missing.items()]
    busy = (
        f"The machine was busy (load {speeds.origin['load_average']:.1f} on "
        f"{speeds.origin['cores']} cores) when it was measured: hours may be too high."
    )
    return [*([busy] if speeds.was_busy else []), *scaled, *remarks, *without]


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell: the first flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def size(num_bytes: int) -> str:
    """1.97 GB; nothing for nothing."""
    if not num_bytes:
        return ""
    power = min((len(str(num_bytes)) - 1) // 3, len(UNITS) - 1)
    return f"{number(num_bytes / 1000**power)} {UNITS[power]}"


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{number(seconds)} s"
    if seconds < 6000:
        return f"{number(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:,.0f} h" if hours >= 100 else f"{number(hours)} h"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number, such as 8")
    return int(text)


def _row(rule: str, its: list[Cost], has_gpu: bool) -> tuple[str, ...]:
    amount = sum(cost.work.amount for cost in its)
    on_gpu, on_cpu = 0.0, 0.0
    for cost in its:
        if has_gpu and cost.job.gpus:
            on_gpu += cost.seconds
        else:
            on_cpu += cost.seconds
    more = " +" if any(cost.missing for cost in its) else ""
    return (
        rule,
        f"{len(its):,}",
        f"{amount:,} {its[0].work.unit}" if amount else "",
        size(sum(sum(cost.work.files.values()) for cost in its)),
        *(_hours(took, more) for took in ((on_gpu, on_cpu) if has_gpu else (on_cpu,))),
        duration(max(cost.seconds for cost in its)) + more,
    )


def _hours(seconds: float, more: str) -> str:
    if not seconds:
        return ""
    hours = seconds / 3600
    return ("< 0.01" if hours < 0.01 else f"{hours:,.2f}") + more


def _name(job: PlannedJob) -> str:
    return " ".join([job.rule, job.variant or ""]).strip()


def _range(numbers: set[int]) -> str:
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first} to {last}"


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of libraries, as are these
    warnings.simplefilter("ignore")
    sys.exit(main())
