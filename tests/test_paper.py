"""What is said of our numbers beside the paper's: made by hand, so that each is known."""

import csv

import pandas as pd
import pytest
from result_files import EFFICIENTNET, INCEPTION, ROWS, Files
from scipy.stats import spearmanr
from subjects import ROOT

from architecture_table import architecture_table
from slimdit.core.errors import InputError
from slimdit.reporting.paper_comparison import Agreement, agreement, order
from slimdit.storage.files import read_json, write_csv, write_json
from slimdit.study.paper_values import PAPER_COLUMNS, Kind, paper_values

S2, Q_S2 = (row["variant"] for row in ROWS)


class PaperFiles(Files):
    """Files whose numbers can be those of the paper."""

    def add_row(self, variant, params=32_656_160, fd=22.9, extractor=INCEPTION, num_images=10_000):
        speed = {"mode": "compiled", "latency_ms": 100.0}
        self.add_costs(variant, total_params=params, **speed)
        self.add_quality(variant, fd, extractor=extractor, num_samples=num_images)
        content = read_json(self.paths["quality"][-1]) | {"num_reference": num_images}
        write_json(self.paths["quality"][-1], content)
        self.add_training(variant, 0.15)

    def beside(self, paper, rows=ROWS):
        """Records of paper.csv by variant and column, and paper.md."""
        table, text = self.written("paper.csv", "paper.md", rows=rows, paper=paper)
        records = csv.DictReader(table.splitlines())
        return {(record["variant"], record["column"]): record for record in records}, text


@pytest.fixture
def files(tmp_path):
    return PaperFiles(tmp_path)


@pytest.mark.parametrize(
    ("ours", "printed", "kind", "expected"),
    [
        (32.65616, "32.7", Kind.COUNT, Agreement.ROUNDED),
        (32.637824, "32.7", Kind.COUNT, Agreement.NONE),
        (32.65, "32.7", Kind.COUNT, Agreement.ROUNDED),  # a half, which no float holds
        (32.75, "32.7", Kind.COUNT, Agreement.ROUNDED),
        (9.705, "9.70", Kind.COUNT, Agreement.ROUNDED),
        (9.71, "9.70", Kind.COUNT, Agreement.NONE),  # the zero is a digit too
        (46.87, "47", Kind.COUNT, Agreement.ROUNDED),
        (32.67, "32", Kind.COUNT, Agreement.CUT_OFF),
        (33.01, "32", Kind.COUNT, Agreement.NONE),
        (22.97, "22.9", Kind.DISTANCE, Agreement.NONE),  # only counts are cut off
        (149.0, "1e2", Kind.DISTANCE, Agreement.ROUNDED),
        (0.0, "0", Kind.DISTANCE, Agreement.ROUNDED),
    ],
)
def test_equal_is_within_half_a_unit_of_the_last_printed_digit(ours, printed, kind, expected):
    assert agreement(ours, printed, kind) == expected


def test_a_percentage_of_zero_is_undefined(files):
    files.add_row(S2, fd=0.5)
    records, text = files.beside({S2: {"fid": "0.0"}})
    assert records[S2, "fid"]["difference_percent"] == "undefined"
    assert "| 0.50 / 0.0 (undefined) |" in text


@pytest.mark.parametrize(
    ("ours", "papers", "expected"),
    [
        ((1, 2, 3), (10, 20, 30), (1.0, None)),
        ((3, 2, 1), (10, 20, 30), (-1.0, "a")),
        ((2, 1, 3, 4), (10, 20, 30, 40), (0.8, "a")),
        ((1, 1, 2, 3), (10, 20, 20, 0), (spearmanr((1, 1, 2, 3), (10, 20, 20, 0)).statistic, "d")),
        ((1, 2), (10, 20), None),
        ((1, 1, 1), (10, 20, 30), None),
        ((1, 2, 3), (10, 10, 10), None),
    ],
)
def test_the_order_of_the_rows_is_compared_by_ranks(ours, papers, expected):
    variants = list("abcd")[: len(ours)]
    said = list(order(pd.Series(ours, variants), pd.Series(papers, variants)))
    if expected is None:
        assert not said
        return
    spearman, mover = expected
    assert f"over {len(ours)} rows is {spearman:.2f}" in said[0]
    assert (f"; {mover} moves most" in said[0]) == (mover is not None)


def test_everything_equal_is_said_so(files):
    rows = [{**ROWS[0], "variant": name, "weights": name} for name in "abc"]
    paper = {}
    for number, name in enumerate("abc"):
        files.add_row(name, fd=20.04 + number)
        paper[name] = {"total_params_million": "32.7", "fid": f"{20 + number}.0"}
        paper[name] |= {"gmacs": "0.00", "final_loss": "0.16", "iterations_per_s": "10"}
    records, text = files.beside(paper, rows)
    assert {record["agreement"] for record in records.values()} == {"within rounding"}
    assert "| Final loss | 3 | 3 | +0.0% | +0.0% (a) |" in text
    assert "by FID is the paper's. Spearman's rank correlation over 3 rows is 1.00." in text
    assert "not measured" not in text


def test_the_papers_known_slips_are_found_before_anything_is_trained(files, tmp_path):
    counts = {"S2-base": 32_656_160, "S4-base": 32_637_824, "MoE-S2-4E1A": 53_933_600}
    rows = [{**ROWS[0], "variant": name, "weights": name} for name in counts]
    for variant, params in counts.items():
        active = 32_670_000 if variant.startswith("MoE") else None
        files.add_costs(variant, total_params=params, active_params=active)
    paper = paper_values(ROOT / "workflow/paper/table1.csv")
    outputs = [tmp_path / "architecture.csv", tmp_path / "architecture_paper.md"]
    architecture_table(files.paths["architecture"], rows, paper, {}, outputs)
    text = outputs[1].read_text()
    assert "| S2-base | 32.66 / 32.7 |" in text
    assert "| S4-base | 32.64 / 32.7 (-0.2%) |" in text
    assert "| 32.7 / 32 (+2.1%, cut off) |" in text
    assert "not measured here: FID, sFID, Final loss, Peak memory (GB), Iterations/s." in text


def test_only_fid_is_compared_with_fid(files):
    files.add_row(S2, extractor=EFFICIENTNET)
    records, text = files.beside(
        {S2: {"fid": "22.9", "sfid": "38.7", "total_params_million": "32.7"}}
    )
    assert list(records) == [(S2, "total_params_million")]
    assert "not compared: this study measures FD (EfficientNet-Lite0)" in text
    assert "22.9" not in text and "order of the rows" not in text


def test_distances_of_other_numbers_of_images_are_shown_but_not_comparable(files):
    files.add_row(S2, num_images=5000)
    records, text = files.beside({S2: {"fid": "22.9", "total_params_million": "32.7"}})
    assert records[S2, "fid"]["comparable"] == "no"
    assert records[S2, "total_params_million"]["comparable"] == "yes"
    assert "of 5000 samples and 5000 reference images" in text


def test_the_machines_numbers_are_shown_but_not_comparable(files):
    files.add_row(S2)
    records, text = files.beside({S2: {"iterations_per_s": "9.07"}})
    assert records[S2, "iterations_per_s"] == {
        "variant": S2,
        "column": "iterations_per_s",
        "ours": "10",
        "paper": "9.07",
        "difference": "0.93",
        "difference_percent": "10.25",
        "agreement": "differs",
        "comparable": "no",
    }
    assert "table1.md names ours" in text and "not comparable" in text


def test_the_final_loss_is_without_the_terms_that_only_some_variants_have(files):
    files.add_row(S2)
    files.paths["training"].clear()
    for seed, mse in enumerate((0.1, 0.2)):
        files.add_training(S2, mse, seed, final_loss=9.0, final_balance=8.0)
    records, _ = files.beside({S2: {"final_loss": "0.16"}})
    assert records[S2, "final_loss"]["ours"] == "0.16"


def test_what_one_side_lacks_is_named(files):
    files.add_row(S2)
    files.add_costs(Q_S2)
    paper = {S2: {"fid": "22.9"}, Q_S2: {"fid": "55.7", "sfid": "36.3"}, "S9": {"fid": "1.0"}}
    records, text = files.beside(paper)
    assert list(records) == [(S2, "fid")]
    assert "| Q-S2 | not measured / 55.7 |" in text
    assert "Printed by the paper, but not measured here: sFID." in text
    assert "S9" not in text


def test_a_paper_of_other_rows_is_no_table(files):
    files.add_row(S2)
    records, text = files.beside({"S9": {"fid": "1.0"}})
    assert not records and text == "Nothing that the paper printed was measured here.\n"


def test_the_papers_table():
    paper = paper_values(ROOT / "workflow/paper/table1.csv")
    assert len(paper) == 17
    printed = ("131.9", "47", "0.918", "42.9", "35.3", "9.70", "4.11", "0.1444")
    assert paper["MoE-S2-8E2A"] == dict(zip(PAPER_COLUMNS, printed, strict=True))
    assert "fid" not in paper["Q-S4"]


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (["variant", "fid"], [{"variant": S2, "fid": "1"}], "columns variant, fid"),
        (["variant", *PAPER_COLUMNS], [{"variant": S2, "fid": "many"}], "fid is 'many'"),
        (["variant", *PAPER_COLUMNS], [{"variant": S2, "sfid": "nan"}], "sfid is 'nan'"),
        (["variant", *PAPER_COLUMNS], [{"variant": S2, "fid": "1"}] * 2, "S2-base twice"),
    ],
)
def test_a_damaged_paper_table_is_refused(tmp_path, columns, rows, message):
    path = tmp_path / "paper.csv"
    write_csv(path, columns, rows)
    with pytest.raises(InputError, match=message):
        paper_values(path)
