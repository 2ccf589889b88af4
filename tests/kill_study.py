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
TARGETS = [RUN.format("Q-S2", "difference.json"), RUN.format("KD-XS2", "quality.json")]
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
EARLIEST_S, LATEST_S = 2.0, 9.0
SCRIPT = re.compile(r"\.snakemake/scripts/tmp\w+\.(\w+)\.py")
OUT_OF_PATIENCE = 20  # runs in a row that end by themselves without finishing


def start(folder: Path) -> subprocess.Popen:
    overlay = folder / "overlay.yaml"
    overlay.write_text(OVERLAY)
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"),
        *("--directory", folder, "--cores", "1", "--resources", "gpu=1", "--configfile"),
        *(ROOT / "config.yaml", ROOT / "tests/tiny.yaml", overlay, "--", *TARGETS),
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


def kill_until_done(folder: Path, num_kills: int, seed: int, say=print) -> dict:
    """Run the study in `folder` with that many kills, then to its end; what was killed and when."""
    draw = random.Random(seed)
    kills, num_runs, failures = Counter(), 0, 0
    while True:
        process, num_runs = start(folder), num_runs + 1
        if sum(kills.values()) < num_kills:
            try:
                process.wait(draw.uniform(EARLIEST_S, LATEST_S))
            except subprocess.TimeoutExpired:
                what = draw.choice(("all", "job", "Snakemake"))
                rule = kill(process, what)
                kills[f"{what} in {rule}"] += 1
                say(f"kill {sum(kills.values())}: {what} in {rule}")
        if process.wait() == 0:
            break
        failures = failures + 1 if process.returncode > 0 else 0
        if failures > OUT_OF_PATIENCE:
            raise RuntimeError(f"does not finish: {(folder / 'snakemake.log').read_text()[-3000:]}")
        time.sleep(0.5)
    return {"kills": dict(sorted(kills.items())), "num_runs": num_runs}


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
    with tempfile.TemporaryDirectory() as folder:
        unbroken, broken = Path(folder) / "unbroken", Path(folder) / "broken"
        for each in (unbroken, broken):
            each.mkdir()
        started_s = time.monotonic()
        kill_until_done(unbroken, 0, options.seed)
        unbroken_s = time.monotonic() - started_s
        report = kill_until_done(broken, options.kills, options.seed)
        wall_s = time.monotonic() - started_s - unbroken_s
        different = differences(unbroken, broken)
        num_results = len(outputs(unbroken))
    print(json.dumps(report, indent=1))
    print(f"{num_results} results, of which differ: {', '.join(different) or 'none'}")
    print(f"unbroken {unbroken_s:.0f} s, with {options.kills} kills {wall_s:.0f} s")
    return len(different)


if __name__ == "__main__":
    sys.exit(main())
