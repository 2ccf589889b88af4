"""What a step of training costs the host beside the model: time of the main thread in its draws.

    python benchmarks/host_share.py --config configs/imagenet200.yaml
    python benchmarks/host_share.py --config tests/tiny.yaml --num-steps 3 --out smoke.json

A device that is at work for so many milliseconds a step is a main thread that waits so long,
running Python for a part of it as if it launched kernels. Meanwhile threads draw timesteps, noise,
dropped labels and latents of the next steps, as `Objective` does it. Timed is what the main thread
then waits and works for what is drawn, and what it would work if it drew all by itself. Medians are
printed. Prints a table and writes JSON.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import torch
from command_line import default_path, study_and_parser
from models import random_latents

from slimdit.data.latents import LatentBatches
from slimdit.jobs.provenance import origin
from slimdit.models.build import build_model
from slimdit.storage.files import write_json
from slimdit.study.study import Study, identity
from slimdit.training.objective import Hyperparameters, Objective

NUM_IMAGES = 2048
LAUNCHING = 0.2  # of the device's time: what a step of S/2 takes to launch, of what it takes to run
CPU = torch.device("cpu")


def main() -> None:
    study, parser = study_and_parser(__doc__.split("\n\n")[0])
    parser.add_argument("--device-ms", type=float, nargs="+", default=[30.0, 60.0], metavar="MS")
    parser.add_argument("--num-steps", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    where_from = origin()
    out = arguments.out or default_path("host-share", where_from["device"])
    found = {}
    for device_ms in arguments.device_ms:
        objective = objective_of(study, arguments.num_steps)
        of_main_ms = {
            "ahead": median_ms(objective.drawn, arguments.num_steps, device_ms),
            "by_itself": median_ms(objective.draw, arguments.num_steps, device_ms),
        }
        found[device_ms] = of_main_ms
        print(
            f"device at work {device_ms:g} ms a step: main thread {of_main_ms['ahead']:.2f} ms, "
            f"drawing by itself {of_main_ms['by_itself']:.2f} ms"
        )
    cases = [{"device_ms": device_ms, "main_thread_ms": each} for device_ms, each in found.items()]
    content = {"cases": cases, "batch_size": objective.hyper.batch_size}
    content |= {"num_threads": torch.get_num_threads(), "num_steps": arguments.num_steps}
    write_json(out, content | {"origin": where_from})
    print(f"Written to {out}.")


def objective_of(study: Study, num_steps: int) -> Objective:
    hyper = Hyperparameters(**identity(study.training("S2-base")) | {"steps": num_steps})
    with tempfile.TemporaryDirectory() as folder:
        cache = random_latents(study, folder, NUM_IMAGES)
        batches = LatentBatches(cache, hyper.batch_size, hyper.horizontal_flip, 0, CPU)
    return Objective(build_model(study.structure("S2-base")), hyper, batches, seed=0)


def median_ms(draw: Callable[[int], list], num_steps: int, device_ms: float) -> float:
    """Of the main thread for the draws of a step, by the clock."""
    times_s = []
    for step in range(num_steps):
        started_s = time.perf_counter()
        draw(step)
        now_s = time.perf_counter()
        times_s.append(now_s - started_s)
        while time.perf_counter() - now_s < LAUNCHING * device_ms / 1e3:
            pass
        time.sleep((1 - LAUNCHING) * device_ms / 1e3)
    return 1e3 * statistics.median(times_s)


if __name__ == "__main__":
    main()
