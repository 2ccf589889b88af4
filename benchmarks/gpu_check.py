"""Whether what runs on a GPU is right there, and how fast it is: one command, on one GPU.

    python benchmarks/gpu_check.py --out gpu-check.json
    python benchmarks/gpu_check.py --out smoke.json --tiny

Each part has a process of its own and its share of the time; what is left of it goes to the next
one. Every result is printed and written at once, with the numbers and the bounds that they are held
to. A check that finds no time left says so. --tiny takes small models and compiles nothing: a CPU
does it in seconds. Needs PyTorch 2.11 or later (float8 on a CPU: 2.12), torchao, diffusers and
fvcore; no Snakemake, no TensorFlow. The exit code is 1 if a check failed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import argparse
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from gpu_checks import PARTS
from gpu_checks.check import FAILED, line, outcome, send_results

from slimdit.jobs.provenance import origin
from slimdit.storage.files import write_json

# Processes that begin with all modules imported, and with nothing of CUDA.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["gpu_checks"])
GRACE_S = 60  # for the last check of a part, which may be compiling


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=420, help="of all parts (default: 420)")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="small models: a try on any machine")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # of the server, whatever the Python
    started_s, counts = time.monotonic(), Counter()
    written = {"origin": origin(), "tiny": arguments.tiny, "parts": {}}
    for part, budget_s in budgets(arguments.part, arguments.seconds).items():
        written["parts"][part] = results = {}
        for name, result in results_of(part, arguments.tiny, started_s + budget_s):
            results[name] = result
            counts[outcome(result)] += 1
            write_json(arguments.out, written, sort_keys=False)
            wall_s = time.monotonic() - started_s
            print(f"{wall_s:6.1f} s  {part:14}{line(name, result)}", flush=True)
    summary = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"{summary}. Written to {arguments.out}.")
    return int(counts[FAILED] > 0)


def budgets(parts: list[str], seconds: float) -> dict[str, float]:
    """After how many seconds of the whole each part must have ended."""
    ends_s = list(accumulate(PARTS[part].budget_s for part in parts))
    return {part: seconds * end_s / ends_s[-1] for part, end_s in zip(parts, ends_s, strict=True)}


def results_of(part: str, is_tiny: bool, deadline_s: float) -> Iterator[tuple[str, dict]]:
    """Names and results of the part's checks, as its process sends them.

    A process that says nothing for too long after the deadline is killed.
    """
    receiver, sender = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(
        target=send_results, args=(part, is_tiny, deadline_s, sender), daemon=True
    )
    process.start()
    sender.close()
    try:
        while receiver.poll(max(deadline_s - time.monotonic(), 0) + GRACE_S):
            sent = receiver.recv()
            if sent is None:
                break
            yield sent
        else:
            process.kill()
            yield "the rest", {"failed": f"stopped: it took {GRACE_S} s more than it had"}
    except EOFError:
        process.join()
        yield "the rest", {"failed": f"its process ended with code {process.exitcode}"}
    process.join(GRACE_S)


if __name__ == "__main__":
    sys.exit(main())
