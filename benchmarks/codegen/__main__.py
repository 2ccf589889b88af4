"""Compiles the study's passes for GPUs on a machine without one, and looks at what came out.

    make codegen
    make codegen ARGUMENTS="--variant S2-base --sm 90 --out smoke.json"

The sampler's step, the training step and the decoder go through Inductor and Triton to cubins, at
reduced depth. Nothing runs: no GPU is needed, nothing is timed, no kernel is tuned. A pass fails if
it is not one graph, if the sampler's kernels cannot be a CUDA graph, if 16-bit numbers are added up
one by one, if int8 weights meet the kernel without tensor cores, or if rows of a matrix
multiplication are not aligned. Writes JSON; run in the checkout.
"""

import argparse
import sys
from importlib import metadata
from pathlib import Path

from codegen.compiled import SHARED_MEMORY_BYTES
from codegen.one_gpu import VARIANTS, compiled_passes
from slimdit.jobs.launch import in_own_process
from slimdit.jobs.provenance import origin
from slimdit.storage.files import write_json

OUT = Path("docs/measurements/codegen.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make codegen", description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", nargs="+", default=["configs/imagenet200.yaml"], metavar="FILE")
    parser.add_argument("--variant", nargs="+", default=VARIANTS, metavar="NAME")
    parser.add_argument("--sm", nargs="+", type=int, choices=SHARED_MEMORY_BYTES, default=[90, 80])
    parser.add_argument("--programs", type=Path, help="folder for what Inductor writes")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.programs:
        arguments.programs.mkdir(parents=True, exist_ok=True)
    where_from = origin(triton=metadata.version("triton"))
    print(f"{'row':16}{'pass':16}{'GPU':5}{'kernels':>8}{'cubins':>8}{'wall':>10}", flush=True)
    options = arguments.config, arguments.variant, arguments.programs
    passes = [each for sm in arguments.sm for each in in_own_process(compiled_passes, sm, *options)]
    write_json(arguments.out, {"passes": passes, "origin": where_from})
    failed = [result for result in passes if result["faults"]]
    print(f"\n{len(passes) - len(failed)} of {len(passes)} pass. Written to {arguments.out}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
