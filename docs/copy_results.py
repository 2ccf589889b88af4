"""Copy what README shows of a study's results: `python docs/copy_results.py photos`."""

import shutil
import sys
from pathlib import Path

from PIL import Image

WIDTH_PIXELS = 900


def copy_results(study: str) -> None:
    results, docs = Path("results") / study, Path("docs") / study
    docs.mkdir(parents=True, exist_ok=True)
    for name in ("table1.md", "recommendation.md"):
        shutil.copyfile(results / "tables" / name, docs / name)
    for name in ("pareto", "savings", "passes"):
        with Image.open(results / f"figures/{name}.png") as picture:
            size = (WIDTH_PIXELS, picture.height * WIDTH_PIXELS // picture.width)
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        small.quantize(256).save(docs / f"{name}.png", optimize=True)


if __name__ == "__main__":
    copy_results(sys.argv[1])
