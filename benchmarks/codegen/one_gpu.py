"""All passes compiled for one kind of GPU, in a process of its own."""

import logging
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from slimdit.core.text import shortened
from slimdit.study.load import configured_study
from slimdit.study.study import Study

VARIANTS = [  # of the paper's study: each implementation once
    *("S2-base", "Q-S2", "Q8dyn-S2", "Qfp8-S2", "MoE-S2-8E2A", "S2-fg-6-local", "S2-med-4"),
    *("S2-shallow", "KD-XS2", "MoE-S2-4E1A"),
]


def compiled_passes(
    sm: int, config: list[str], variants: list[str], programs: Path | None
) -> list[dict]:
    """What was compiled for GPUs of this kind, 90 for sm_90, and what is wrong with it.

    programs: a folder for what Inductor wrote.
    """
    import fake_cuda

    with tempfile.TemporaryDirectory() as folder:
        # Nothing comes from an earlier run, and one kernel is compiled after the other.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/inductor"
        os.environ["TRITON_CACHE_DIR"] = f"{folder}/triton"
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        logging.getLogger("torchao").setLevel(logging.ERROR)  # it misses CUDA's libraries
        fake_cuda.load(Path(folder))  # before torch is imported
        results = []
        for case in cases(configured_study(config), variants):
            results.append(measured(sm, *case, programs))
            print(line(results[-1]), flush=True)
        return results


def cases(study: Study, variants: list[str]) -> Iterator[tuple[str, str, Callable]]:
    """The name of a row and of a pass, and the pass as a function of the device."""
    from codegen import passes

    for variant in variants:
        yield variant, "sampler step", partial(passes.sampler_step, study, variant)
        if variant in study.trained:
            yield variant, "training step", partial(passes.training_step, study, variant)
    yield "autoencoder", "decoder", partial(passes.decoder, study)


def measured(sm: int, row: str, name: str, run: Callable, folder: Path | None) -> dict:
    from codegen.compiler import compiling_for
    from codegen.passes import OtherGpu

    about = {"row": row, "pass": name, "sm": sm}
    started = os.times()
    try:
        with compiling_for(sm) as (device, compiled):
            run(device)
    except OtherGpu as error:
        return about | {"not_compiled": str(error), "faults": []}
    except Exception as error:  # of any kind: of tracing, of Inductor, of Triton, of ptxas
        traceback.print_exc()
        return about | {"faults": [shortened(f"{type(error).__name__}: {error}")]}
    if folder:
        for number, graph in enumerate(compiled.graphs):
            path = folder / f"{row}-{name.replace(' ', '-')}-{number}-sm{sm}.py"
            path.write_text(graph.source_code)
    wall_s = os.times().elapsed - started.elapsed
    cpu_s = sum(os.times()[:4]) - sum(started[:4])  # with ptxas, of processes of its own
    facts = compiled.facts() | {"cpu_s": cpu_s, "wall_s": wall_s}
    return about | facts | {"faults": list(compiled.faults())}


def line(result: dict) -> str:
    head = f"{result['row']:16}{result['pass']:16}sm_{result['sm']}"
    if "wall_s" in result:
        head += f"{result['kernels']:>8}{result['cubins']:>8}{result['wall_s']:>8.1f} s"
    elif "not_compiled" in result:
        head += f"   {result['not_compiled']}"
    return "\n".join([head, *(f"    {fault}" for fault in result["faults"])])
