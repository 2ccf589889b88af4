"""The tables: what is computed from the JSON files of a study, and how it is printed."""

import json
import math
from pathlib import Path

import pytest
from result_files import INCEPTION, ROWS, Files

from architecture_table import architecture_table
from slimdit.core.errors import InputError
from slimdit.reporting.columns import NONE, NOT_MEASURED, number, with_count
from slimdit.reporting.differences import PARTS
from slimdit.reporting.markdown_table import bracket
from slimdit.storage.files import write_json


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def test_changes_are_percents_of_the_parents_values(files):
    files.add_costs("S2-base", total_params=1000, latency_ms=10.0)
    files.add_costs("Q-S2", total_params=900, latency_ms=12.5)
    files.add_quality("S2-base", fd=20.0)
    files.add_quality("Q-S2", fd=21.0)
    table1, _, text = files.tables()

    child = table1["Q-S2"]
    assert child["total_params_change_percent"] == "-10.00"
    assert child["macs_change_percent"] == "0.00"
    assert table1["S2-base"]["total_params_change_percent"] == NONE
    assert "900 (-10.0%)" in text or "0.00090 (-10.0%)" in text
    assert "| 20.0 |" in text  # the base row and unchanged values have no bracket


@pytest.mark.parametrize(
    ("ends", "significant", "cell"),
    [
        ((0.75, 0.85), "yes", "| 0.800 [0.750, 0.850] |"),
        ((0.75, 1.05), "no", "| 0.800 [0.750, 1.050 ~] |"),
        ((None, None), NOT_MEASURED, "| 0.800 |"),  # of one process
    ],
)
def test_latency_is_compared_with_the_parents_of_the_same_processes(files, ends, significant, cell):
    files.add_costs("S2-base", latency_ms=10.0, latency_over_base=None)
    files.add_costs("Q-S2", latency_ms=99.0, base="S2-base", **over_base(0.8, *ends))
    table1, _, text = files.tables()
    assert table1["Q-S2"]["latency_over_base_eager"] == "0.8"
    assert table1["Q-S2"]["latency_over_base_eager_significant"] == significant
    assert table1["Q-S2"]["latency_over_base_compiled_low"] == NOT_MEASURED
    assert table1["S2-base"]["latency_over_base_eager_significant"] == NONE
    assert cell in text


def over_base(ratio, low, high):
    names = ("latency_over_base", "latency_over_base_low", "latency_over_base_high")
    return dict(zip(names, (ratio, low, high), strict=True))


CHAIN = [
    ROWS[0],
    {**ROWS[0], "variant": "XS2-base", "weights": "XS2-base"},
    {**ROWS[1], "parent": "XS2-base"},
]


def test_every_latency_is_that_of_the_first_row_times_ratios(files):
    """Of three jobs, the second on a machine that was ten times as busy."""
    files.add_costs("S2-base", latency_ms=10.0)
    files.add_costs("XS2-base", latency_ms=50.0, base="S2-base", **over_base(0.5, 0.4, 0.625))
    files.add_costs("Q-S2", latency_ms=6.0, base="XS2-base", **over_base(1.2, 1.0, 1.44))
    table1, _, text = files.tables(rows=CHAIN)
    found = {name: row["latency_ms_eager"] for name, row in table1.items()}
    assert found == {"S2-base": "10", "XS2-base": "5", "Q-S2": "6"}
    assert table1["Q-S2"]["iterations_per_s_eager"] == "166.667"
    assert table1["Q-S2"]["images_per_s_eager"] == "1333.33"
    error = math.hypot(math.log(1.25), math.log(1.2))
    for end, side in (("low", -1), ("high", 1)):
        expected = 6 * math.exp(side * error)
        assert float(table1["Q-S2"][f"latency_ms_eager_{end}"]) == pytest.approx(expected, 1e-5)
        assert table1["S2-base"][f"latency_ms_eager_{end}"] == "10"
    assert table1["XS2-base"]["latency_over_base_eager"] == NONE
    assert "Throughputs are that of S2-base, times the ratios" in text


def test_without_a_ratio_on_the_way_there_is_no_latency(files):
    files.add_costs("S2-base")
    files.add_costs("Q-S2", base="XS2-base", **over_base(0.8, 0.7, 0.9))
    table1, _, _ = files.tables(rows=CHAIN)
    assert table1["Q-S2"]["latency_ms_eager"] == NOT_MEASURED
    assert table1["Q-S2"]["latency_over_base_eager"] == "0.8"


def test_a_row_that_only_samples_otherwise_has_the_passes_of_its_weights(files):
    """With no ratio to a parent of the same passes; its sampling is its own."""
    faster = {**ROWS[1], "variant": "DDIM-10", "weights": "S2-base"}
    files.add_costs("S2-base", latency_ms=10.0)
    files.add_costs("DDIM-10", mode="sampler", base="S2-base", **over_base(0.5, 0.4, 0.6))
    table1, _, text = files.tables(rows=[ROWS[0], faster])
    base, row = table1["S2-base"], table1["DDIM-10"]
    assert row["latency_ms_eager"] == base["latency_ms_eager"] == "10"
    assert row["peak_memory_bytes"] == base["peak_memory_bytes"] != NOT_MEASURED
    assert (row["latency_over_base_eager"], row["latency_over_base_eager_low"]) == (
        "1",
        NOT_MEASURED,
    )
    assert row["latency_over_base_sampler"] == "0.5"
    assert "0.500 [0.400, 0.600]" in text


def test_a_row_is_shown_at_its_best_guidance_scale(files):
    """Of three scales of S2-base; Q-S2 has other weights, and one scale."""
    scales = {"S2-base": 2.0, "scale-1": 1.0, "scale-3": 3.0}
    rows = [{**ROWS[0], "variant": variant, "parent": None} for variant in scales]
    for variant, fd in zip(scales, (60.0, 90.0, 50.0), strict=True):
        files.add_quality(variant, fd, guidance_scale=scales[variant])
    files.add_quality("Q-S2", 10.0)
    table1, _, text = files.tables(rows=[*rows, ROWS[1]])
    name = "fd_efficientnet_lite0_at_best_guidance_scale"
    found = [(table1[row][name], table1[row]["best_guidance_scale"]) for row in scales]
    assert found == [("50", "3")] * 3
    assert table1["Q-S2"][name] == table1["Q-S2"]["best_guidance_scale"] == NOT_MEASURED
    assert "at best guidance [scale]" in text and "50.0 [3.00]" in text
    assert "At best guidance: the least distance" in text


def test_without_other_scales_there_is_no_best_one(files):
    for row in ROWS:
        files.add_quality(row["variant"], 50.0)
    _, _, text = files.tables()
    assert "best guidance" not in text.lower()


def test_decoding_is_timed_apart_and_once_for_rows_that_decode_alike(files):
    files.add_costs("S2-base", mode="decoder", latency_ms=4.0)
    files.add_costs("Q-S2", base="S2-base")
    table1, _, _ = files.tables()
    for row in ("S2-base", "Q-S2"):
        decoding = [table1[row][f"{part}decoder"] for part in ("", "latency_ms_", "images_per_s_")]
        assert decoding == ["float32", "4", "2000"]


def test_energy_is_of_the_batch_size_that_it_was_measured_at(files):
    files.add_costs("S2-base", energy_j_per_image=None)
    files.add_costs("Q-S2", batch_size=64, energy_j_per_image=0.25)
    table1, _, _ = files.tables()
    assert table1["S2-base"]["energy_j_per_image_eager"] == NOT_MEASURED
    assert table1["Q-S2"]["energy_j_per_image_eager"] == "0.25"
    assert table1["Q-S2"]["latency_ms_eager"] == NOT_MEASURED


def test_the_samplers_speed_is_that_of_the_first_row_by_a_ratio(files):
    sampler = {"mode": "sampler", "latency_ms": 400.0}
    files.add_costs("S2-base", **sampler)
    files.add_costs("Q-S2", base="S2-base", **sampler, **over_base(0.5, 0.4, 0.6))
    table1, _, text = files.tables()
    assert table1["S2-base"]["images_per_s_sampler"] == "20"
    assert table1["Q-S2"]["images_per_s_sampler"] == "40"
    assert "| 0.500 [0.400, 0.600] | 40.0 |" in text


@pytest.mark.parametrize(
    ("left_out", "significant", "cell"),
    [((21.0, 21.02), "yes", "21.0 (+1.0 †)"), ((21.0, 22.0), "no", "21.0 (+1.0 ~)")],
)
def test_a_derived_row_is_compared_for_this_checkpoint(files, left_out, significant, cell):
    files.add_quality("S2-base", fd=20.0, left_out=(20.0, 20.0))
    files.add_quality("Q-S2", fd=21.0, left_out=left_out)
    table1, _, text = files.tables()
    child = table1["Q-S2"]
    assert (child["compared"], child["fd_efficientnet_lite0_difference"]) == (
        "this checkpoint",
        "1",
    )
    assert child["fd_efficientnet_lite0_significant"] == significant
    assert table1["S2-base"]["fd_efficientnet_lite0_significant"] == NONE
    assert cell in text
    told = {"yes": "worse in Q-S2", "no": "within the noise in Q-S2"}[significant]
    assert "- **Quantization** (this checkpoint): held-out loss within the noise in Q-S2;" in text
    assert f"FD (EfficientNet-Lite0) {told}. It says nothing of another training." in text


TRAINED = [
    ROWS[0],
    {
        **ROWS[1],
        "variant": "S2-shallow",
        "derived_from": None,
        "trained_from": None,
        "weights": "S2-shallow",
    },
]


@pytest.mark.parametrize(
    ("changes", "significant", "cell"),
    [((1.0, 1.01), "yes", "+1.0 *)"), ((1.0, 9.0), "no", "+5.0 ~)")],
)
def test_a_trained_row_is_compared_over_seeds(files, changes, significant, cell):
    for seed, change in enumerate(changes):
        files.add_quality("S2-base", fd=20.0 + seed, seed=seed)
        files.add_quality("S2-shallow", fd=20.0 + seed + change, seed=seed)
    table1, _, text = files.tables(rows=TRAINED)
    assert table1["S2-shallow"]["compared"] == "over seeds"
    assert table1["S2-shallow"]["fd_efficientnet_lite0_significant"] == significant
    assert cell in text


def test_of_one_training_each_no_difference_is_told(files):
    files.add_quality("S2-base", fd=20.0)
    files.add_quality("S2-shallow", fd=21.0)
    table1, _, text = files.tables(rows=TRAINED)
    of_distance = {part: table1["S2-shallow"][f"fd_efficientnet_lite0_{part}"] for part in PARTS}
    assert set(of_distance.values()) == {"one training each"}
    assert "fd_efficientnet_lite0_change_percent" not in table1["S2-shallow"]
    assert "| 21.0 (1 seed) |" in text
    assert "- **Quantization** (S2-shallow): nothing, neither better nor worse." in text


@pytest.mark.parametrize(("class_accuracy", "is_told"), [(0.1, True), (0.12, True), (0.13, False)])
def test_a_row_that_learned_nothing_is_told(files, class_accuracy, is_told):
    for variant in ("S2-base", "S2-shallow"):
        files.add_costs(variant)
    files.add_quality("S2-base", 20.0)
    files.add_quality("S2-shallow", 21.0, class_accuracy=class_accuracy)
    *_, text = files.tables(rows=TRAINED)
    assert ("- S2-shallow did not learn the classes" in text) is is_told
    assert "S2-base did not learn" not in text


def test_real_images_stand_first_where_quality_is_told(files):
    files.add_costs("S2-base")
    files.add_quality("S2-base", fd=20.0)
    files.add_reference_quality(**{"Held-out images": 5.0})
    table1, _, text = files.tables()
    first, *_ = table1
    real = table1[first]
    assert (first, real["group"], real["num_images"]) == ("Held-out images", "Reference", "390")
    assert (real["fd_efficientnet_lite0"], real["reconstructed_recall"]) == ("5", "0.5")
    for column in ("total_params", "held_out_loss", "macs_change_percent", "speed_batch_size"):
        assert real[column] == NONE
    assert NOT_MEASURED not in real.values()
    assert table1["S2-base"]["num_images"] == "650"
    *with_quality, speed, _ = text.split("\n## ")
    for part in with_quality:
        group, row = part.partition("| Model ")[2].splitlines()[2:4]
        assert group.startswith("| **Reference** |")
        assert row.startswith("| Held-out images (390) |")
    assert "Reference" not in speed
    assert "| none | none | none | none | 5.00 |" in text


@pytest.mark.parametrize(
    "group",
    [
        "Base | $ in $",
        "*a* __b__ _c_",
        "<b>x</b> &amp; `y`",
        "[a](b)",
        "猫 ~~no~~ \\",
        "two\nlines",
    ],
)
def test_groups_are_shown_as_they_are_written(files, group):
    files.add_quality("S2-base", fd=20.0)
    files.add_quality("S2-shallow", fd=21.0)
    *_, text = files.tables(rows=[{**row, "group": group} for row in TRAINED])
    assert "$" not in text.replace(r"\$", "")
    markdown = pytest.importorskip("markdown_it").MarkdownIt().enable(["table", "strikethrough"])
    bold = []
    for token in (token for token in markdown.parse(text) if token.type == "inline"):
        inside = [child.content for child in token.children or () if child.type != "text_special"]
        kinds = [child.type for child in token.children or ()]
        if kinds[:2] == ["text", "strong_open"]:
            bold.append("".join(inside[: kinds.index("strong_close")]))
            assert {*kinds} <= {"text", "strong_open", "strong_close"}
    assert len(bold) >= 5 and set(bold) == {" ".join(group.split())}


def test_no_table_for_people_is_wider_than_ten_columns(files):
    for variant in ("S2-base", "Q-S2"):
        files.add_costs(variant)
        files.add_quality(variant, fd=20.0)
    _, _, text = files.tables()
    headings = [line for line in text.splitlines() if line.startswith("| Model |")]
    assert len(headings) == 4
    assert max(heading.count("|") - 1 for heading in headings) <= 10


def test_the_spread_over_sets_is_a_column_where_there_are_several(files):
    files.add_quality("S2-base", fd=20.0)
    assert files.tables()[0]["S2-base"]["fd_efficientnet_lite0_std_over_sets"] == "0.5"
    content = json.loads(Path(files.paths["quality"][0]).read_text())
    for metric in ("fd", "sfd"):
        del content["metrics"][f"{metric}_std_over_sets"]
    write_json(files.paths["quality"][0], content)
    assert "fd_efficientnet_lite0_std_over_sets" not in files.tables()[0]["S2-base"]


def test_several_seeds_give_mean_and_standard_deviation(files):
    for seed, fd in enumerate((10.0, 12.0, 14.0)):
        files.add_quality("S2-base", fd, seed)
        files.add_training("S2-base", fd / 100, seed)
    files.add_quality("Q-S2", 24.0)
    table1, table2, text = files.tables()

    base = table1["S2-base"]
    assert (base["num_seeds"], base["fd_efficientnet_lite0"]) == ("3", "12")
    assert base["fd_efficientnet_lite0_std_over_seeds"] == "2"
    assert table1["Q-S2"]["fd_efficientnet_lite0_std_over_seeds"] == NOT_MEASURED
    assert table1["Q-S2"]["fd_efficientnet_lite0_difference"] == "14"
    assert (table2["S2-base"]["loss"], table2["S2-base"]["loss_std_over_seeds"]) == ("0.12", "0.02")
    assert "12.0 ± 2.0" in text
    assert "seeds 0, 1, 2" in text


def test_one_seed_has_no_columns_for_a_spread(files):
    files.add_quality("S2-base", 10.0)
    table1, _, _ = files.tables()
    assert not [column for column in table1["S2-base"] if column.endswith("_over_seeds")]


def test_what_is_missing_says_so_and_no_cell_is_empty(files):
    files.add_costs("S2-base")
    files.add_costs("Q-S2", peak_memory_bytes=None)
    files.add_quality("S2-base", 10.0)
    table1, _, text = files.tables()

    child = table1["Q-S2"]
    assert child["fd_efficientnet_lite0"] == NOT_MEASURED
    assert child["fd_efficientnet_lite0_difference"] == NOT_MEASURED
    assert child["peak_memory_bytes"] == NOT_MEASURED
    assert child["latency_ms_compiled"] == NOT_MEASURED
    assert all(value for record in table1.values() for value in record.values())
    assert "Q-S2 compiled (no compiler)" in text


def test_a_change_from_zero_is_undefined(files):
    files.add_costs("S2-base", peak_memory_bytes=0)
    files.add_costs("Q-S2")
    table1, _, _ = files.tables()
    assert table1["Q-S2"]["peak_memory_bytes_change_percent"] == "undefined"


def test_only_the_inception_graphs_distance_is_called_fid(files):
    files.add_quality("S2-base", 10.0)
    table1, _, text = files.tables()
    assert "FD-650 (EfficientNet-Lite0)" in text
    assert "fid" not in (text + "".join(table1["S2-base"])).lower()


def test_fid_is_called_so_with_its_number_of_samples(files):
    files.add_quality("S2-base", 22.9, extractor=INCEPTION, num_samples=10_000)
    table1, _, text = files.tables()
    assert table1["S2-base"]["fid"] == "22.9"
    assert "| FID-10K ↓ | sFID-10K ↓ |" in text


@pytest.mark.parametrize("other", [{"extractor": INCEPTION}, {"num_samples": 10}])
def test_distances_that_cannot_be_compared_are_refused(files, other):
    files.add_quality("S2-base", 10.0)
    files.add_quality("Q-S2", 10.0, **other)
    with pytest.raises(InputError):
        files.tables()


def test_losses_that_a_variant_does_not_have_are_marked(files):
    files.add_training("S2-base", 0.2)
    files.add_training("Q-S2", 0.3, final_distillation=0.05)
    _, table2, _ = files.tables()
    assert table2["S2-base"]["distillation"] == NONE
    assert table2["Q-S2"]["distillation"] == "0.05"
    assert table2["S2-base"]["window_steps"] == "10"


def test_conditions_come_from_the_files(files):
    files.add_costs("S2-base")
    files.add_quality("S2-base", 10.0)
    files.add_quality("Q-S2", 10.0, guidance_scale=None)
    files.add_training("S2-base", 0.2)
    _, _, text = files.tables()
    for condition in (
        "Some CPU, 2 threads, torch 2.0",
        "batch size 8, float32, 54 timed iterations in 3 processes, each after 10 to warm up",
        "in eager mode: weights and what a pass allocates on the CPU",
        "efficientnet-lite0 (weights sha256 0123456789ab), 650 samples",
        "- Sampling of S2-base: guidance scale 2.0, sampler ddim, steps 20.",
        "- Sampled otherwise: no guidance scale (Q-S2).",
        "100 steps of batch size 32, seed 0",
        "right on 99.0% of 100 real held-out images and on 88.0% of them through",
    ):
        assert condition in text


@pytest.mark.parametrize(("cores", "is_busy"), [(0.05, False), (1.4, True)])
def test_a_busy_machine_is_told_where_speed_is(files, cores, is_busy):
    files.add_costs("S2-base", others_s=-0.01, wall_s=2.0, latency_spread=0.03)
    files.add_costs("Q-S2", others_s=2 * cores, wall_s=2.0, latency_spread=0.05)
    *_, text = files.tables()
    assert f"kept at most {cores:.2f} cores busy (Q-S2); the quartiles" in text
    assert "iterations are 4.0% of their median apart" in text
    assert ("The machine was busy while speed was measured" in text) == is_busy


def test_architecture_table_has_exactly_its_columns(files, tmp_path):
    for variant in ("Q-S2", "S2-base"):
        files.add_costs(variant, total_params=32_656_160)
    table = tmp_path / "architecture.csv"
    architecture_table(files.paths["architecture"], ROWS, {}, {}, [table])
    assert table.read_text().splitlines() == [
        "variant,total_params,active_params,macs,weight_bytes,passes_per_image,"
        "cached_passes_per_image,macs_per_image,cache_bytes_per_image",
        "S2-base,32656160,32656160,2000000,130624640,40,0,80000000,0",
        "Q-S2,32656160,32656160,2000000,130624640,40,0,80000000,0",
    ]


def test_number_formats():
    values = (131.94, 22.9, 6.0655, 0.267, 0.0224, 0.0, 1234.5, -22.94)
    printed = ["131.9", "22.9", "6.07", "0.267", "0.0224", "0.00", "1234", "-22.9"]
    assert list(map(number, values)) == printed
    assert number(1.0, like=90.0) == "1.0"
    assert [bracket(change) for change in (math.nan, math.inf, 0.0, -10.11, 304.0)] == [
        *("", "", ""),
        " (-10.1%)",
        " (+304.0%)",
    ]
    assert with_count("FID", 10_000) == "FID-10K"
    assert with_count("FD (Net)", 390) == "FD-390 (Net)"


def test_what_no_row_has_is_not_measured_everywhere(files):
    for variant in ("S2-base", "Q-S2"):
        files.add_costs(variant, peak_memory_bytes=None, latency_ms=None, bound=None)
        files.add_quality(variant, 10.0)
    table1, _, text = files.tables()
    for column in ("peak_memory_bytes", "latency_ms_eager", "bound_eager"):
        assert {record[column] for record in table1.values()} == {NOT_MEASURED}
    assert table1["Q-S2"]["peak_memory_bytes_change_percent"] == NOT_MEASURED
    assert "| Peak memory (MB) ↓ |" in text
