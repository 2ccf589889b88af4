"""python -m fake_cuda FOLDER PATH: run every case, and write how each ended, a line of each."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import fake_cuda


def main(folder: str, path: str) -> None:
    fake_cuda.load(Path(folder))
    from fake_cuda.lines import Visits

    visits = Visits()
    visits.watch(Path(fake_cuda.__file__).parents[2] / "workflow/scripts")
    import torch

    # Inference mode would leave composite operators as they are, to be taken apart in Python.
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()
    from fake_cuda import cases, planted

    with Path(path).open("w") as file:
        for case, report in cases.reports():
            print(json.dumps({str(case): report}), file=file, flush=True)
        lines = {"lines": sorted(visits), "mistakes": dict(planted.reports())}
        print(json.dumps(lines), file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
