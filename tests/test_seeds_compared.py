"""docs/compare_seeds.py: which marks of a study of one seed another seed reverses."""

import subprocess
import sys

from result_files import EFFICIENTNET, ROWS, Files
from subjects import ROOT

from slimdit.storage.files import read_json, write_json

ALONE = {
    "variant": "S2-own",
    "group": "Own",
    "parent": "S2-base",
    "derived_from": None,
    "trained_from": None,
    "weights": "S2-own",
}
FDS = {"S2-base": (20.0, 20.0, 20.0), "Q-S2": (30.0, 31.0, 29.0), "S2-own": (18.0, 25.0, 17.0)}


def test_marks_that_another_seed_reverses_are_counted(tmp_path):
    files, root = Files(tmp_path), tmp_path / "results/own"
    for variant, fds in FDS.items():
        for seed, fd in enumerate(fds):
            files.add_quality(variant, fd, seed=seed)
            content = read_json(files.paths["quality"][-1])
            write_json(root / f"variants/{variant}/seed-{seed}/quality.json", content)
    record = {"rows": [*ROWS, ALONE], "speed_batch_size": 8}
    write_json(root / "tables/study.json", record)
    command = [sys.executable, ROOT / "docs/compare_seeds.py", "own"]
    subprocess.run(command, cwd=tmp_path, check=True)
    text = (tmp_path / "docs/own/retraining.md").read_text()
    label = EFFICIENTNET["fd_label"].replace("FD", "FD-650")
    (fd_table,) = (part for part in text.split("## ") if part.startswith(f"{label}\n"))
    assert "| Q-S2 | this checkpoint | +10 † | +11 † | +9 † |" in fd_table
    assert "| S2-own | one training each" not in fd_table
    assert "| S2-own | over seeds | -2 | +5 | -3 |" in fd_table
    alone, mistaken = (line for line in text.splitlines() if "another sign in another" in line)
    assert ", 0 of " in alone
    assert ", 0 of " not in mistaken and f"S2-own ({label}, seed 1)" in mistaken
