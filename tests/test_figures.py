"""The figures: written, the same each time, and true to their data where that can be told."""

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image
from subjects import ROOT

from figures import figures
from slimdit.reporting.figures.differences import overlay
from slimdit.reporting.figures.losses import smoothed
from slimdit.reporting.figures.pareto import pareto_figure, pareto_front
from slimdit.reporting.figures.savings import savings_figure
from slimdit.reporting.figures.style import FONT, _letters_of, save, styled, wrapped
from slimdit.storage.files import read_json, write_csv, write_json, write_npz
from slimdit.study.steps import FIGURES

EXTRACTOR = {
    "name": "net",
    "fd_column": "fd_net",
    "sfd_column": "sfd_net",
    "fd_label": "FD (Net)",
    "sfd_label": "sFD (Net)",
    "score_column": "score_net",
    "score_label": "Score (Net)",
}


def write_study(folder, variants, seeds=(0,)):
    """Files of variants {name: (kind, parent)}, kind plain, moe or derived: figures' arguments."""
    paths = {kind: [] for kind in ("architecture", "speed", "quality", "training")}
    paths |= {"losses": [], "prompts": [], "reference_quality": []}
    rng = np.random.default_rng(0)

    def add(kind, path, content):
        write_json(path, {**content, "origin": {}})
        paths[kind].append(str(path))

    for i, (variant, (kind, parent)) in enumerate(variants.items()):
        here, cost = folder / variant, {"variant": variant, "total_params": 10 + i}
        cost |= {"spec": {"structure": {"num_classes": 8}}}
        cost |= {"active_params": 10 + i, "macs": 1e6 * (1 + i), "weight_bytes": 40 + i}
        cost |= {"passes_per_image": 40, "macs_per_image": 4e7 * (1 + i)}
        cost |= {"cached_passes_per_image": 0, "cache_bytes_per_image": 0}
        add("architecture", here / "architecture.json", cost)
        measured = {"latency_ms": 5.0, "peak_memory_bytes": 1e6 * (1 + i)}
        measured |= {
            "mode": "sampler",
            "batch_size": 8,
            "peak_memory_kind": "cpu_weights_and_allocated",
        }
        measured |= {"latency_over_base": 0.8 + i, "latency_over_base_low": 0.7 + i}
        measured |= {"latency_over_base_high": 1.1 + i}
        timed = {"variant": variant, "base": parent, "measurements": [measured]}
        add("speed", here / "speed.json", timed)
        images = rng.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
        names = np.array([f"a_class_{n}" for n in range(8)])
        write_npz(here / "prompts.npz", arr_0=images, arr_1=np.arange(8), names=names)
        paths["prompts"].append(str(here / "prompts.npz"))
        for seed in seeds:
            run, what = here / f"seed-{seed}", {"variant": variant, "seed": seed}
            metrics = {"fd": 50.0 - i + seed, "sfd": 3.0}
            counts = {"num_samples": 10, "num_reference": 10}
            quality = {
                **what,
                **counts,
                "metrics": metrics,
                "extractor": EXTRACTOR,
                "sampling": {"guidance_scale": 3.0},
            }
            add("quality", run / "quality.json", quality)
            if kind in ("derived", "sampled"):
                continue
            load = rng.dirichlet(np.ones(4), (5, 2)).tolist()  # 5 steps, 2 layers, 4 experts
            load = {"steps": [1, 2, 3, 4, 5], "load": load} if kind == "moe" else None
            add("training", run / "training.json", {**what, "expert_load": load})
            parts = (0.9, 0.1) if kind != "few" else (np.nan, np.nan)
            steps = [
                {
                    "step": s,
                    "loss": 1 / s,
                    **{n: p / s for n, p in zip(("mse", "vb"), parts, strict=True)},
                }
                for s in range(1, 6)
            ]
            write_csv(run / "losses.csv", list(steps[0]), steps)
            paths["losses"].append(str(run / "losses.csv"))
    rows = [
        {
            "variant": variant,
            "group": kind,
            "parent": parent,
            "derived_from": parent if kind in ("derived", "sampled") else None,
            "trained_from": parent if kind in ("further", "few") else None,
            "weights": parent if kind == "sampled" else variant,
            "family": "steps" if variant.startswith("steps-") else None,
        }
        for variant, (kind, parent) in variants.items()
    ]
    return paths | {"rows": rows, "speed_batch_size": 8, "recipe": {}}


def draw(arguments, folder):
    """The bytes of every figure."""
    outputs = {f"{name}_{kind}": folder / f"{name}.{kind}" for name in FIGURES for kind in KINDS}
    figures(**arguments, **outputs)
    return {name: path.read_bytes() for name, path in outputs.items()}


KINDS = ("png", "svg")
SMALL = {
    "base": ("plain", None),
    "experts": ("moe", "base"),
    "quantized": ("derived", "base"),
    "steps-10": ("sampled", "base"),
    "steps-20": ("sampled", "base"),
    "longer": ("further", "base"),
    "quicker": ("few", "base"),
}


def test_equal_inputs_give_equal_bytes(tmp_path):
    arguments = write_study(tmp_path / "study", SMALL)
    first, second = (draw(arguments, tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert all(first[f"{name}_png"].startswith(b"\x89PNG") for name in FIGURES)
    assert all(b"</svg>" in first[f"{name}_svg"] for name in FIGURES)


def test_figures_are_on_opaque_white_also_where_the_page_is_dark(tmp_path):
    drawn = draw(write_study(tmp_path / "study", SMALL), tmp_path / "figures")
    assert all(b"fill: #ffffff" in drawn[f"{name}_svg"] for name in FIGURES)
    for path in [*(tmp_path / "figures").glob("*.png"), *(ROOT / "docs").rglob("*.png")]:
        with Image.open(path) as picture:
            assert picture.convert("RGBA").getpixel((0, 0)) == (255,) * 4, path
            assert picture.convert("RGBA").getextrema()[3] == (255, 255), path


@pytest.mark.parametrize(
    "variants, seeds",
    [
        ({"alone": ("plain", None)}, (0,)),
        (SMALL, (0, 1, 2)),
        ({"base": ("plain", None), "quicker": ("few", "base")}, (0,)),
        (
            {"base": ("plain", None)}
            | {f"plain-{i}": ("plain", "base") for i in range(25)}
            | {f"derived-{i}": ("derived", "base") for i in range(4)},
            (0,),
        ),
    ],
    ids=["one variant", "three seeds", "a student of few steps", "thirty variants"],
)
def test_studies_of_any_size_can_be_drawn(tmp_path, variants, seeds):
    drawn = draw(write_study(tmp_path / "study", variants, seeds), tmp_path / "figures")
    assert all(map(len, drawn.values()))


def test_a_variant_without_measurements_is_left_out_not_failed(tmp_path):
    arguments = write_study(tmp_path / "study", SMALL)
    arguments["speed"], arguments["quality"] = arguments["speed"][1:], arguments["quality"][:-1]
    assert all(map(len, draw(arguments, tmp_path / "figures").values()))


def test_a_line_tells_the_distance_of_real_images_through_the_autoencoder():
    points = pd.DataFrame({"group": "A", "cost": [1.0, 2.0], "distance": [30.0, 20.0], "std": 0.0})
    figure = pareto_figure({"Cost": points.set_axis(["A", "B"])}, "FD", floor=5.0)
    (axes,) = figure.axes
    assert [5.0, 5.0] in [list(line.get_ydata()) for line in axes.lines]
    assert axes.get_ylim()[0] > 5  # the points' own heights
    assert "through the autoencoder: 5.00" in str(
        [text.get_text() for text in figure.legends[0].get_texts()]
    )


def test_a_study_without_times_and_costs_can_be_drawn(tmp_path):
    arguments = write_study(tmp_path / "study", SMALL)
    for path in arguments["speed"]:
        content = read_json(path)
        content["measurements"][0] |= {"latency_ms": None, "latency_over_base": None}
        write_json(path, content)
    arguments["architecture"] = []
    assert all(map(len, draw(arguments, tmp_path / "figures").values()))


def test_magenta_is_where_images_differ_and_nowhere_else():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (2, 16, 16, 3), dtype=np.uint8)
    others = images.copy()
    others[0, 3:6, 4:9, 1] += 40
    differs = np.zeros((2, 16, 16), dtype=bool)
    differs[0, 3:6, 4:9] = True

    shown = overlay(images, others).astype(int)
    red, green, blue = np.moveaxis(shown, -1, 0)
    assert np.array_equal(red > green, differs)
    assert np.array_equal(red, blue)
    grey = images[~differs] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(shown[~differs] - grey[:, None]).max() <= 0.5


def test_the_largest_difference_is_pure_magenta_whichever_image_is_brighter():
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert overlay(*pair).tolist() == [[[255, 0, 255]]]


def test_pareto_front_is_what_no_other_point_beats():
    cost = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    distance = np.array([9.0, 5.0, 7.0, 6.0, 1.0])
    assert pareto_front(cost, distance).tolist() == [0, 1, 4]


def test_each_group_has_the_line_of_its_own_front():
    place = {"cost": [1.0, 2.0, 3.0, 2.0, 4.0], "distance": [9.0, 5.0, 6.0, 20.0, 10.0]}
    points = pd.DataFrame({"group": [*"AAABB"], **place, "std": np.nan}, [*"abcde"])
    (axes,) = pareto_figure({"Cost": points}, "FD").axes
    lines = [list(zip(*line.get_data(), strict=True)) for line in axes.lines]
    assert [(1, 9), (2, 5)] in lines and [(2, 20), (4, 10)] in lines


def test_pareto_labels_overlap_neither_each_other_nor_the_frame():
    i = np.arange(15)
    place = {"cost": 1 + 0.01 * i, "distance": 10 - 0.1 * (i % 5), "std": np.nan}
    points = pd.DataFrame({"group": "group", **place}, [f"variant-{each}" for each in i])
    with styled():
        figure = pareto_figure({"Latency (ms)": points}, "FD")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        boxes = [Text.get_window_extent(text) for text in axes.texts if text.get_text()]
        frame = axes.get_window_extent()
    assert len(boxes) == 15
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_savings_are_bars_of_their_lengths_and_what_is_cut_or_missing_is_said():
    columns = ["group", "macs_percent", "time_percent", "time_percent_low", "time_percent_high"]
    savings = pd.DataFrame(
        [
            ("a", 20.0, 12.0, 8.0, 15.0),
            ("b", -61.0, -163.0, -180.0, -150.0),
            ("b", 5.0, np.nan, np.nan, np.nan),
        ],
        ["faster", "slower", "untimed"],
        columns,
    )
    with styled():
        axes = savings_figure(savings, 8).axes[0]
        macs, time = ([bar.get_width() for bar in bars] for bars in axes.containers[:2])
        said = [text.get_text() for text in axes.texts]
    assert macs == [20, -61, 5]
    assert time[:2] == [12, -100] and np.isnan(time[2])
    assert said == ["-163%", "not measured"]
    low, high = axes.get_xlim()
    assert low == -100 and high > 20


ODD = [
    "$_{$",
    "US$10 to $20",
    "Base | $ per $",
    "_under_ **bold**",
    "\\frac{1}",
    "<b>&`x`^2",
    "猫 🐈",
]


@pytest.mark.parametrize("name", ODD)
def test_names_are_drawn_as_they_are_written(tmp_path, name, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "figures.save",
        lambda figure, *paths: (save(figure, *paths), drawn.extend(figure.findobj(Text))),
    )
    arguments = write_study(tmp_path / "study", SMALL)
    for row in arguments["rows"]:
        row["group"] = name
    for path in arguments["prompts"]:
        content = {**np.load(path)} | {"names": np.array([name] * 8)}
        write_npz(path, **content)
    for kind, content in draw(arguments, tmp_path / "figures").items():
        if kind.endswith("svg"):
            ElementTree.fromstring(content)
    shown = [text.get_text().replace("\n", "").replace(" ", "") for text in drawn]
    assert shown.count(name.replace(" ", "")) >= 8 + 3
    assert not any(text.get_parse_math() for text in drawn)


def test_letters_that_no_font_has_are_told_in_one_sentence(caplog):
    with styled("a \U0010fff0\U0010fff1 b"):
        (record,) = caplog.records
    assert "No font of this machine has the letters \U0010fff0 \U0010fff1:" in record.message
    caplog.clear()
    with styled("plain ünïcode ≤ قطة"):
        assert not caplog.records


def test_letters_are_drawn_in_the_first_font_that_has_them(caplog):
    serif = fontManager.findfont("STIXSizeOneSym")
    lacking = _letters_of(serif) - _letters_of(fontManager.findfont(FONT))
    letter = min(lacking)
    with styled(letter):
        fonts = matplotlib.rcParams["font.family"]
    assert len(fonts) == 2 and not caplog.records
    assert letter in _letters_of(fontManager.findfont(fonts[1]))


def test_long_names_are_broken_behind_underscores_which_stay():
    assert wrapped("hubble_deep_field", 0.74) == "hubble_deep_\nfield"
    assert wrapped("_a b", 7) == "_a b"


def test_moving_mean_of_each_value_and_those_before_it():
    steps = np.arange(20)
    smooth = smoothed(pd.DataFrame({0: 2.0 * steps + 1}, steps))  # a tenth is two values
    assert smooth[0].tolist() == (2.0 * steps[1:]).tolist() and smooth.index[0] == 1
