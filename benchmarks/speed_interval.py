"""How often the interval of a row's latency over its own holds 1, as it should in 95 %.

    python benchmarks/speed_interval.py --config config.yaml
    python benchmarks/speed_interval.py --config tests/tiny.yaml --num-processes 3 --out smoke.json

Fresh processes time a row against itself, as the rule measure_speed does, first beside nothing and
then beside a process that multiplies matrices every now and then. They are grouped at random into
measurements of as many processes as the study has, since one process knows nothing of the others.
The interval over the processes (slimdit.profiling.latency.interval) is held against that over all
rounds at once (order statistics of the median: Conover, "Practical Nonparametric Statistics"). The
same is simulated, for processes that differ by a part of what rounds do. Prints a table and writes
JSON. Run in the checkout.
"""

import contextlib
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import torch
from command_line import default_path, study_and_parser
from scipy.stats import binom
from speed_table import save_random

from slimdit.core.randomness import stream
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.jobs.launch import in_own_process
from slimdit.jobs.provenance import origin
from slimdit.profiling.latency import OUTSIDE, interval
from slimdit.profiling.trials import TimedRow, share, time_rows
from slimdit.storage.files import write_json
from slimdit.study.study import Study

BASE = "S2-base"
NUM_MEASUREMENTS = 2000  # groups of processes; simulated ones
LONGEST_S = 0.2  # that the neighbour works or waits at once
ROUNDS_STD = 0.05  # of a round's ratio, in its logarithm; what is simulated does not depend on it
EFFECTS = (0.0, 0.1, 0.2, 0.5, 1.0)  # how far processes spread, in parts of that
Rounds = list[list[float]]  # the ratios of each process's rounds


def main() -> None:
    study, parser = study_and_parser(__doc__.split("\n\n")[0])
    parser.add_argument("--num-processes", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    speed = study.config["speed"] | {"compiled_batch_sizes": []}  # compiling takes far longer
    speed["eager_batch_sizes"] = [speed["table_batch_size"]]
    where_from = origin()
    out = arguments.out or default_path("speed-interval", where_from["device"])
    size = speed["processes"]
    rounds = share(speed["timed_iterations"], size)
    simulated = {effect: held(partial(drawn, size, rounds, effect)) for effect in EFFECTS}
    print(f"{'holds 1, of measurements':44}{'over processes':>15}{'over rounds':>13}")
    for effect, found in simulated.items():
        print(line(f"simulated, processes spread {effect:g} times rounds", found), flush=True)
    measured = {}
    for name, beside in {"alone": contextlib.nullcontext, "beside another": neighbour}.items():
        with beside():
            measured[name] = of_itself(study, speed, arguments.num_processes)
        for trial, found in measured[name].items():
            print(line(f"{trial}, {name}", found), flush=True)
        content = {"measured": measured, "simulated": simulated, "rounds_std": ROUNDS_STD}
        content |= {"num_processes": arguments.num_processes, "options": speed}
        write_json(out, content | {"origin": where_from})
    print(f"\nWritten to {out}.")


def of_itself(study: Study, speed: dict, num_processes: int) -> dict[str, dict]:
    """What is held of the base's latency over its own, by mode and batch size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / BASE
        save_random(study, BASE, path)
        row = TimedRow(str(path), partial(LatentSampler, **study.timed_samplings(BASE)[0]))
        found = [in_own_process(time_rows, [row, row], speed) for _ in range(num_processes)]
    trials = {}
    for of_trial in zip(*found, strict=True):
        ratios = [np.divide(each["times_s"], each["base_times_s"]).tolist() for each in of_trial]
        medians = [statistics.median(each) for each in ratios]
        name = f"{of_trial[0]['mode']} {of_trial[0]['batch_size']}"
        trials[name] = held(partial(grouped, ratios, speed["processes"])) | {"medians": medians}
    return trials


def held(measurement: Callable[[np.random.Generator], Rounds]) -> dict:
    """How often, and how wide at the median, each interval of a measurement at random is."""
    random = stream(0, "speed interval")
    measurements = [measurement(random) for _ in range(NUM_MEASUREMENTS)]
    found = {}
    for name, interval_of in {"processes": interval, "rounds": over_rounds}.items():
        low, high = np.array([interval_of(each) for each in measurements]).T
        found[f"held_by_{name}"] = float(np.mean((low <= 1) & (high >= 1)))
        found[f"width_over_{name}"] = float(np.median(high - low))
    return found


def grouped(ratios: Rounds, size: int, random: np.random.Generator) -> Rounds:
    """Those of `size` processes, drawn at random."""
    return [ratios[i] for i in random.choice(len(ratios), size, replace=False)]


def drawn(size: int, rounds: int, effect: float, random: np.random.Generator) -> Rounds:
    """Of rounds whose logarithms have long tails (t with 3 degrees of freedom), as those of times
    do, and of processes with a normal effect each."""
    logs = random.standard_t(3, (size, rounds)) + effect * random.standard_normal((size, 1))
    return np.exp(ROUNDS_STD * logs).tolist()


def over_rounds(ratios: Rounds) -> tuple[float, float]:
    """Those of all processes' rounds between which the median lies in 95 % of samples: of 50 the
    18th and the 33rd."""
    ordered = sorted(itertools.chain(*ratios))
    rank = max(int(binom.ppf(OUTSIDE / 2, len(ordered), 0.5)), 1)
    return ordered[rank - 1], ordered[-rank]


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=multiply, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def multiply() -> None:
    """Now and then, for ever."""
    torch.set_num_threads(1)
    matrix, random = torch.rand(512, 512), stream(0, "neighbour")
    while True:
        until_s = time.monotonic() + LONGEST_S * random.random()
        while time.monotonic() < until_s:
            matrix @ matrix
        time.sleep(LONGEST_S * random.random())


def line(name: str, found: dict) -> str:
    return f"{name:44}{found['held_by_processes']:>15.1%}{found['held_by_rounds']:>13.1%}"


if __name__ == "__main__":
    main()
