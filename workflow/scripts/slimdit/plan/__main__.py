"""What a study will cost, told before it is spent: python -m slimdit.plan --configfile FILE."""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd

from slimdit.core.text import duration
from slimdit.plan.jobs import pending_jobs
from slimdit.plan.rates import Rates, measured, recorded
from slimdit.plan.work import work_of
from slimdit.storage.files import write_json
from slimdit.study.load import configured_study, run_command
from slimdit.study.steps import STEPS

DEVICES = (1, 4, 8)
DIGITS = 7  # of a commit
START_S = 10.0  # of any job
ASSUMED = f"""\
- at least: all work that asks for a GPU shared out evenly, or one row's jobs one after the other
  where that takes longer; jobs that wait for other rows, or for a CPU, end later.
- assumed: nothing else ran while it was measured; every class has as many images as it may have;
  a job starts in {START_S:.0f} s, and one samples all images of a row and seed; a model compiles
  in a minute, where it trains, where it samples, and for each batch size whose speed is measured,
  once for all processes that measure it; a batch that is slow on a CPU takes in proportion to a
  smaller one; a step of the autoencoder's training is three of its passes.
- measured without compilation: what a GPU runs compiled takes less.
- not counted: small files; downloads, reading images, images of prompts, passes and samplings
  whose speed is measured, metrics, cutting photographs, counts, compression, tables and figures."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m slimdit.plan", description=__doc__)
    rates = parser.add_mutually_exclusive_group()
    rates.add_argument("--measurements", metavar="FILE", help="plan with rates that --save wrote")
    rates.add_argument("--save", metavar="FILE", help="write the rates that are measured")
    return run_command(parser, plan, arguments)


def plan(configfile: list[str], measurements: str | None, save: str | None) -> Iterator[str]:
    """The jobs that a study has still to run in this folder, and what they cost, as text.

    Raises InputError for a study that cannot be planned and for measurements that lack a rate.
    """
    study = configured_study(configfile)
    rates = recorded(measurements) if measurements else None
    todo = [(job, work_of(study, job)) for job in pending_jobs(study, configfile)]
    if not todo:
        yield f"Study {study.name}: nothing to do, all of it is finished."
        return
    units = dict.fromkeys(unit for _, work in todo for unit in work.units)
    rates = rates or measured(study, list(units))
    if save:
        write_json(save, asdict(rates))
    costs = [
        {
            "rule": job.step,
            "name": job.name,
            # Jobs of a row and a seed wait for each other, from its weights to its comparison.
            "chain": job.name if job.seed is None else f"{job.variant}, seed {job.seed}",
            "jobs": 1,
            "steps or images": work.amount,
            "GB": sum(work.files.values()) / 1e9,
            "hours": (START_S + rates.seconds_of(study, work.units)) / 3600,
            "takes_gpu": STEPS[job.step].takes_gpu,
        }
        for job, work in todo
    ]
    yield report(study.name, pd.DataFrame(costs), rates)


def report(name: str, costs: pd.DataFrame, rates: Rates) -> str:
    """The costs of each rule, their sums, the least time that they take, and what that rests on."""
    rules = costs.groupby("rule", sort=False)[["jobs", "steps or images", "GB", "hours"]].sum()
    gpu_hours = costs.hours[costs.takes_gpu].sum()  # without a GPU they are the CPU's, one by one
    chain_hours = costs.groupby("chain").hours.sum().max()
    least = [f"{n}: {duration(3600 * max(gpu_hours / n, chain_hours))}" for n in DEVICES]
    longest = costs.loc[costs.hours.idxmax()]
    is_cpu = rates.origin["device"] == "cpu"
    machine = rates.origin["processor" if is_cpu else "device"] or "a CPU"
    on_gpu = 0.0 if is_cpu else gpu_hours
    unknown = [
        f"- {unit} could not be measured, and is not counted: {why}."
        for unit, why in rates.seconds.items()
        if isinstance(why, str)
    ]
    return "\n".join(
        [
            f"Study {name}: {len(costs)} jobs to run.",
            f"Measured on {machine} at commit {(rates.origin['commit'] or 'unknown')[:DIGITS]}.",
            "",
            rules.rename_axis(None).to_string(
                formatters={"steps or images": "{:,}".format}, float_format="{:,.2f}".format
            ),
            "",
            f"In all: {on_gpu:,.2f} GPU-hours, {costs.hours.sum() - on_gpu:,.2f} CPU-hours, "
            f"{costs.GB.sum():,.2f} GB.",
            f"Longest job: {longest['name']}, {duration(3600 * longest.hours)}.",
            f"At least, on {'machines' if is_cpu else 'GPUs'}: {', '.join(least)}.",
            "",
            *unknown,
            ASSUMED,
        ]
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of libraries, as are these
    warnings.simplefilter("ignore")
    sys.exit(main())
