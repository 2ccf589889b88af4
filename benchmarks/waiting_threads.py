"""What threads that wait cost: steps of training a second, alone and beside other programs.

    python benchmarks/waiting_threads.py --config config.yaml
    python benchmarks/waiting_threads.py --config tests/tiny.yaml --threads "one thread" \
        --beside alone --seconds 1 --num-runs 1 --out smoke.json

The threads of GNU's OpenMP wait for each other in a loop of GOMP_SPINCOUNT turns before they sleep.
A process trains S2-base on all cores with each of these numbers, with OpenMP's own, and on one
thread: alone, beside a program that takes one core, beside another training of the same setting,
and beside one with OpenMP's own. Settings take turns; medians are printed, as parts of the first.
Run in the checkout. Prints a table and writes JSON.
"""

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import torch
from cases.training import our_steps
from command_line import default_path, study_and_parser
from sides import SPAWN

from slimdit.compute.environment import NUM_SPINS, SPINS, thread_limits
from slimdit.jobs.provenance import origin
from slimdit.storage.files import write_json
from slimdit.study.load import configured_study

OWN = "OpenMP's own"
CORES = os.cpu_count() or 1
SETTINGS = {  # environment of a process
    OWN: thread_limits(CORES),
    **{
        f"{spins} turns": thread_limits(CORES) | {SPINS: str(spins)}
        for spins in (0, NUM_SPINS, 3000, 10000)
    },
    "one thread": thread_limits(1),
}
NAMES = {name for environment in SETTINGS.values() for name in environment}
WARM_UP = 5  # steps
ALONE, BUSY, SAME, SPINNING = "alone", "a program", "its like", "one that spins"


def main() -> None:
    _, parser = study_and_parser(__doc__.split("\n\n")[0])
    parser.add_argument("--threads", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    neighbours = ALONE, BUSY, SAME, SPINNING
    parser.add_argument("--beside", nargs="+", choices=neighbours, default=neighbours)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--num-runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    where_from = origin()
    out = arguments.out or default_path("waiting-threads", where_from["device"])
    found = {name: {beside: [] for beside in arguments.beside} for name in arguments.threads}
    for _ in range(arguments.num_runs):
        for name, of_name in found.items():
            environment = SETTINGS[name]
            for beside, rates in of_name.items():
                with neighbour(beside, environment, arguments.config):
                    rates.append(rate(environment, arguments.config, arguments.seconds))
    medians = {
        name: {beside: statistics.median(rates) for beside, rates in of_name.items()}
        for name, of_name in found.items()
    }
    whole = medians[arguments.threads[0]][arguments.beside[0]]
    print(f"{'beside':16}" + "".join(f"{beside:>16}" for beside in arguments.beside))
    for name, of_name in medians.items():
        print(f"{name:16}" + "".join(f"{value / whole:>16.3f}" for value in of_name.values()))
    content = {"steps_per_s": found, "seconds": arguments.seconds, "num_cores": CORES}
    write_json(out, content | {"origin": where_from})
    print(f"\nWritten to {out}.")


def rate(environment: dict[str, str], config: list[str], seconds: float) -> float:
    """Steps a second of a fresh process."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    with started(environment, train, config, seconds, sender):
        return receiver.recv()


@contextlib.contextmanager
def neighbour(beside: str, environment: dict[str, str], config: list[str]) -> Iterator[None]:
    """What else runs; it is at work when the context begins."""
    if beside == ALONE:
        yield
        return
    if beside == BUSY:
        with started(environment, count):
            yield
        return
    receiver, sender = SPAWN.Pipe(duplex=False)
    with started(environment if beside == SAME else SETTINGS[OWN], train, config, None, sender):
        receiver.recv()
        yield


@contextlib.contextmanager
def started(environment: dict[str, str], target, *arguments) -> Iterator[None]:
    """A process with these variables, until the context ends."""
    for name in NAMES:
        os.environ.pop(name, None)
    os.environ.update(environment)
    process = SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    for each in arguments:
        if isinstance(each, Connection):
            each.close()  # so that the other end sees when the process is gone
    try:
        yield
    finally:
        process.kill()
        process.join()


def train(config: list[str], seconds: float | None, sender) -> None:
    """Sends steps a second after some seconds; with None 0 once it is warm, and goes on."""
    step = our_steps(configured_study(config), torch.float32, "off", torch.device("cpu"))
    for _ in range(WARM_UP):
        step()
    if seconds is None:
        sender.send(0.0)
    num_steps, started_s = 0, time.monotonic()
    while seconds is None or time.monotonic() < started_s + seconds:
        step()
        num_steps += 1
    sender.send(num_steps / (time.monotonic() - started_s))


def count() -> None:
    """For ever."""
    while True:
        pass


if __name__ == "__main__":
    main()
