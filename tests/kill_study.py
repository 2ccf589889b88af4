"""Kill a small study again and again, and compare what it ends with to an unbroken run.

    python tests/kill_study.py --kills 50

What is killed with SIGKILL at a random moment: everything (a power cut), the job alone (the kernel
out of memory), or Snakemake alone, whose job lives on.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
RUN = "results/tiny/variants/{}/seed-0/{}"
TARGETS = [RUN.format("Q-S2", "quality.json"), RUN.format("KD-XS2", "quality.json")]
# Long enough for kills to fall into the work and not only between jobs.
OVERLAY = """
study: tiny
autoencoder: {encode_batch_size: 4, train: {steps: 40, save_every_steps: 10}}
training: {steps: 60, log_every_steps: 20, save_every_steps: 10}
sampling: {num_samples: 12, steps: 10, batch_size: 2}
evaluation: {batch_size: 2}
"""
TIMES = {"time", "wall_s", "steps_per_s", "images_per_s"}
WORKING = ("/logs/", "/state/", "/tensorboard/")
EARLIEST_S, LATEST_S = 2.0, 8.0  # after a start
SCRIPT = re.compile(r"\.snakemake/scripts/tmp\w+\.(\w+)\.py")
OUT_OF_PATIENCE = 20  # runs in a row that end by themselves without finishing


def start(folder: Path) -> subprocess.Popen:
    overlay = folder / "overlay.yaml"
    overlay.write_text(OVERLAY)
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1"),
        "--nolock",  # the killed one's lock is there
        *("--configfile", ROOT / "config.yaml", ROOT / "tests/tiny.yaml", overlay, "--", *TARGETS),
    ]
    with open(folder / "snakemake.log", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=folder)


def jobs_of(snakemake: psutil.Process) -> dict[int, str]:
    """Processes of running scripts and the rules that they belong to."""
    found = {}
    for process in snakemake.children(recursive=True):
        try:
            match = SCRIPT.search(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
        if match and "python" in process.name():
            found[process.pid] = match[1]
    return found


def kill(process: subprocess.Popen, what: str) -> str:
    """SIGKILL, and the rule that was at work."""
    try:
        jobs = jobs_of(psutil.Process(process.pid))
    except psutil.NoSuchProcess:
        jobs = {}
    if what == "job" and jobs:
        victims = list(jobs)
    elif what == "Snakemake":
        victims = [process.pid]
    else:
        victims = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(True))]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return next(iter(jobs.values()), "between jobs")


def run_study(folder: Path, most_kills: int = 0, draw: random.Random | None = None) -> Counter:
    """Run the study in a new folder to its end, with at most so many kills; how often what was."""
    folder.mkdir()
    kills, failures = Counter(), 0
    while True:
        process = start(folder)
        if kills.total() < most_kills:
            try:
                process.wait(draw.uniform(EARLIEST_S, LATEST_S))
            except subprocess.TimeoutExpired:
                what = draw.choice(("all", "job", "Snakemake"))
                kills[f"{what}, in {kill(process, what)}"] += 1
        if process.wait() == 0:
            return kills
        failures = failures + 1 if process.returncode > 0 else 0
        if failures > OUT_OF_PATIENCE:
            raise RuntimeError(f"does not finish: {(folder / 'snakemake.log').read_text()[-3000:]}")
        time.sleep(0.5)


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def outputs(folder: Path) -> dict[str, bytes]:
    """Contents of every result; of JSON files without the times that they took and were made at."""
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part in f"/{name}" for part in WORKING):
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps(without_times(json.loads(content))).encode()
            found[name] = content
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Names of results that are not in both folders with the same content."""
    a, b = outputs(one), outputs(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, kills, num_rounds, num_different = random.Random(options.seed), Counter(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        unbroken = Path(folder) / "unbroken"
        run_study(unbroken)
        num_results = len(outputs(unbroken))
        while kills.total() < options.kills:
            num_rounds += 1
            broken = Path(folder) / f"broken-{num_rounds}"
            of_round = run_study(broken, options.kills - kills.total(), draw)
            different = differences(unbroken, broken)
            kills, num_different = kills + of_round, num_different + len(different)
            print(
                f"study {num_rounds}: {of_round.total()} kills; of {num_results} results differ: "
                f"{', '.join(different) or 'none'}",
                flush=True,
            )
    for what, count in sorted(kills.items()):
        print(f"{count:3} {what}")
    print(f"{kills.total()} kills in {num_rounds} studies, {num_different} results differ")
    return min(num_different, 1)


if __name__ == "__main__":
    sys.exit(main())
