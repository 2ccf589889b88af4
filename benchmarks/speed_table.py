"""The speed of every variant of a study beside its base's, before anything is trained.

    python benchmarks/speed_table.py
    python benchmarks/speed_table.py --batch-sizes 8 --variant S2-base S2-shallow --out smoke.json

Each variant is measured as the rule measure_speed does, beside its base, with random
weights: what a pass takes does not depend on them, but that random routers share tokens out nearly
evenly. Prints a table and writes JSON. Run in the checkout.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))

import torch
from command_line import default_path, study_and_parser
from models import made_model

from measure_speed import measure_speed
from slimdit.core.errors import InputError
from slimdit.jobs.launch import in_own_process
from slimdit.jobs.provenance import conditions, origin
from slimdit.models.checkpoint import save_variant
from slimdit.storage.files import read_json, write_json
from slimdit.study.study import Study

MODES = ("eager", "compiled")


def main() -> None:
    study, parser = study_and_parser(__doc__.split("\n\n")[0])
    variants = list(study.variants)
    parser.add_argument("--variant", nargs="+", choices=variants, default=variants, metavar="NAME")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 8, 64, 256])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    where_from, rows = origin(), {}
    out = arguments.out or default_path("speed", where_from["device"])
    options = study.config["speed"] | {
        f"{mode}_batch_sizes": arguments.batch_sizes for mode in MODES
    }
    print(
        f"{'':16}{'mode':9}{'batch':>6}{'ms':>10}{'images/s':>10}{'of base':>9}   bound", flush=True
    )
    for variant in arguments.variant:
        try:
            rows[variant] = in_own_process(measured, study, variant, options)
        except InputError as error:
            rows[variant] = {"not_measured": str(error)}
            print(f"{variant:16}{error}", flush=True)
        for each in rows[variant].get("measurements", []):
            print(line(variant, each), flush=True)
        write_json(out, {"rows": rows, "options": options, "origin": where_from})
    print(f"\nWritten to {out}.")


def measured(study: Study, variant: str, options: dict) -> dict:
    """What measure_speed says of the variant, without where it comes from."""
    base, samplings = study.timed_against(variant), study.timed_samplings(variant)
    wanted = {"checkpoint": variant, "guide": study.guide(variant)}
    if base:
        wanted |= {"base_checkpoint": base, "base_guide": study.guide(base)}
    with tempfile.TemporaryDirectory() as folder:
        speed, paths = Path(folder) / "speed.json", {}
        for name, row in wanted.items():
            if row:
                paths[name] = Path(folder) / name
                save_random(study, row, paths[name])
        about = {"variant": variant, "base": base, "recipe": {}}
        measure_speed(speed=speed, measurement=options, samplings=samplings, **about, **paths)
        report = read_json(speed)
    return {key: value for key, value in report.items() if key != "origin"}


def save_random(study: Study, variant: str, path: Path) -> None:
    model = made_model(study, variant, torch.device("cpu"))
    structure, operations = study.structure(variant), study.operations(variant)
    save_variant(path, model, structure, operations, conditions(seed=0))


def line(variant: str, each: dict) -> str:
    ratio = "" if each["latency_over_base"] is None else f"{each['latency_over_base']:.3f}"
    numbers = f"{each['batch_size']:>6}{each['latency_ms']:>10.2f}{each['images_per_s']:>10.1f}"
    return f"{variant:16}{each['mode']:9}{numbers}{ratio:>9}   {each.get('bound', '')}"


if __name__ == "__main__":
    main()
