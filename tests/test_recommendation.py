"""Which row to use: against studies of known truth, and in words."""

import json

import numpy as np
import pandas as pd
import pytest
from result_files import ORIGIN, ROWS, Files
from scipy.special import stdtrit
from scipy.stats import binom

from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.metric_names import MetricNames
from slimdit.recommend import main
from slimdit.reporting.columns import table_columns
from slimdit.reporting.differences import ONE_TRAINING, THIS_CHECKPOINT
from slimdit.reporting.recommendation import recommend as answers
from slimdit.reporting.recommendation.costs import BY, SIZE, cost_of
from slimdit.reporting.recommendation.recommend import recommend
from slimdit.reporting.recommendation.text import advice, recommendation_markdown
from slimdit.reporting.recommendation.window import seeds_needed, times_the_samples, with_intervals
from slimdit.reporting.results import StudyResults
from slimdit.storage.files import write_json

NUM_GROUPS, NUM_SAMPLES = 20, 2000
BASE_FD, SAMPLE_SD, SEED_SD = 100.0, 0.5, 2.5  # of a distance: over samples, over trainings
STUDIES = 5000
WINDOW = 0.02


def drawn(random, true_losses, num_studies=1, num_seeds=1, is_derived=True, sample_sd=SAMPLE_SD):
    """Distances of groups of samples whose mean is that of all: (studies, seeds, rows, groups), the
    base's first, each row's mean (1 + its loss) times the base's."""
    losses = np.array([0.0, *true_losses])
    shape = (num_studies, num_seeds, len(losses))
    own = random.normal(scale=sample_sd * np.sqrt(NUM_GROUPS), size=(*shape, NUM_GROUPS))
    own[:, :, 0] = random.normal(scale=5 * SAMPLE_SD, size=(*shape[:2], NUM_GROUPS))  # of all rows
    own[:, :, 1:] += own[:, :, :1]
    training = random.normal(scale=0.0 if is_derived else SEED_SD, size=shape)
    return BASE_FD * (1 + losses)[:, None] + training[..., None] + own


def without_each(groups):
    return (groups.sum(-1, keepdims=True) - groups) / (NUM_GROUPS - 1)


def simulated(random, true_losses, num_seeds=1, is_derived=True, guide=None):
    """Results of a study whose rows have these losses; row i costs less than those before it."""
    (groups,) = drawn(random, true_losses, 1, num_seeds, is_derived)
    return study_of(groups, is_derived, guide)


def study_of(groups, is_derived=True, guide=None):
    """groups: (seeds, rows, groups), of one study."""
    names = ["base", *(f"row-{i}" for i in range(groups.shape[1] - 1))]
    quality = []
    for seed, of_seed in enumerate(groups):
        for name, of_row in zip(names, of_seed, strict=True):
            left_out = without_each(of_row).tolist()
            of_samples = {"whole": of_row.mean(), "left_out": left_out, "drawn_from": [seed]}
            quality.append(
                {
                    "variant": name,
                    "seed": seed,
                    "metrics": {"fd": of_row.mean()},
                    "jackknife": {"fd": of_samples},
                    "sampling": {"guide": guide if name != "base" else None},
                }
            )
    return results(names, quality, "base" if is_derived else None)


def recommended_rows(groups, is_derived):
    """What `recommend` says of many studies at once, in which every row is tested: the number of
    the recommended row, -1 where it is the base."""
    num_seeds, num_rows = groups.shape[1], groups.shape[2] - 1
    logs, left_out = np.log(groups.mean(-1)), np.log(without_each(groups))
    changes = logs[..., 1:] - logs[..., :1]  # (studies, seeds, rows)
    of_samples = (left_out[..., 1:, :] - left_out[..., :1, :]).mean(1)
    error, freedom = np.sqrt(NUM_GROUPS - 1) * of_samples.std(-1), NUM_GROUPS - 1
    if not is_derived:
        over_seeds = changes.std(1, ddof=1) / np.sqrt(num_seeds)
        error, freedom = np.fmax(over_seeds, error), num_seeds - 1
    estimates = {"log_ratio": changes.mean(1).ravel(), "error": error.ravel(), "freedom": freedom}
    high = with_intervals(pd.DataFrame(estimates), num_rows)["loss_high"].to_numpy()
    is_inside = high.reshape(-1, num_rows) <= WINDOW
    cheapest = num_rows - 1 - is_inside[:, ::-1].argmax(1)
    return np.where(is_inside.any(1), cheapest, -1)


def results(names, quality, source):
    """Rows of these names, each smaller than the one before."""
    columns = table_columns(MetricNames(), NUM_SAMPLES)
    rows = pd.DataFrame(index=names, columns=[column.name for column in columns], dtype=float)
    rows["weight_bytes"] = 1e6 * np.arange(2 * len(names), len(names), -1)
    rows["parent"] = [None, *["base"] * (len(names) - 1)]
    rows["trained_from"] = None
    rows["derived_from"] = pd.Series([None, *[source] * (len(names) - 1)], names, dtype=object)
    rows = rows.assign(is_reference=False, num_images=NUM_SAMPLES)
    training = [
        {"variant": name, "seed": seed, "wall_s": 3600.0, "origin": {}}
        for name in (names if source is None else ["base"])
        for seed in range(3)
    ]
    return StudyResults(rows, columns, MetricNames(), 8, [], quality, training, 10)


JUST_OUTSIDE = [WINDOW + 1e-6] * 12
MIXED = [-0.01, 0.0, WINDOW + 1e-6, WINDOW + 1e-6, 0.05, 0.025, WINDOW + 1e-6, 0.2]
ONE_RIGHT = [0.3, -0.08, 0.2]


@pytest.mark.parametrize("true_losses", [JUST_OUTSIDE, MIXED, ONE_RIGHT])
@pytest.mark.parametrize(("num_seeds", "is_derived"), [(1, True), (3, False)])
def test_many_studies_are_judged_at_once_as_each_is(true_losses, num_seeds, is_derived):
    groups = drawn(stream(0, "agreement"), true_losses, 10, num_seeds, is_derived)
    each = [recommend(study_of(of, is_derived), WINDOW, SIZE) for of in groups]
    numbers = [-1 if found.row == "base" else int(found.row[4:]) for found in each]
    assert numbers == recommended_rows(groups, is_derived).tolist()
    assert {found.num_tested for found in each} == {len(true_losses)}


@pytest.mark.parametrize("true_losses", [JUST_OUTSIDE, MIXED], ids=["at the edge", "mixed"])
@pytest.mark.parametrize(("num_seeds", "is_derived"), [(1, True), (3, False), (10, False)])
def test_a_row_outside_the_window_is_recommended_in_at_most_a_twentieth(
    true_losses, num_seeds, is_derived
):
    """The rows are tried from the cheapest on, so that the best of many lucky ones is taken. Of
    rules that are false in 7 % of studies two in a thousand pass."""
    random = stream(0, "recommendations", num_seeds)
    found = recommended_rows(drawn(random, true_losses, STUDIES, num_seeds, is_derived), is_derived)
    num_false = (np.array([*true_losses, 0.0])[found] > WINDOW).sum()
    assert num_false <= binom.ppf(0.999, STUDIES, 0.05)


@pytest.mark.parametrize(
    ("true_losses", "right", "num_seeds", "is_derived", "sample_sd", "least"),
    [
        (MIXED, 1, 1, True, SAMPLE_SD, 0.80),
        (MIXED, 1, 1, True, SAMPLE_SD / 2, 0.95),  # with four times as many samples
        (ONE_RIGHT, 1, 1, True, SAMPLE_SD, 0.99),
        (ONE_RIGHT, 1, 5, False, SAMPLE_SD, 0.90),
        ([0.0], 0, 1, True, 0.25, 0.99),
    ],
)
def test_the_right_row_is_found_where_there_is_enough_data(
    true_losses, right, num_seeds, is_derived, sample_sd, least
):
    random = stream(1, "recommendations", num_seeds)
    groups = drawn(random, true_losses, STUDIES, num_seeds, is_derived, sample_sd)
    assert (recommended_rows(groups, is_derived) == right).mean() >= least


def test_with_the_samples_that_a_row_needs_half_are_told():
    gap = np.log1p(WINDOW) - np.log1p(0.01)
    sample_sd = BASE_FD * gap / stdtrit(NUM_GROUPS - 1, 0.95)
    groups = drawn(stream(9, "recommendations"), [0.01], STUDIES, sample_sd=sample_sd)
    assert (recommended_rows(groups, True) == 0).mean() == pytest.approx(0.5, abs=0.03)


def test_of_one_training_each_nothing_follows():
    random = stream(2, "recommendations")
    for _ in range(20):
        found = recommend(simulated(random, [-0.5, 0.01, 0.5], is_derived=False), WINDOW, SIZE)
        assert found.row == "base" and found.num_tested == 0
        assert (found.rows["answer"][1:] == answers.CANNOT_TELL).all()
        assert (found.rows["trainings_needed"][1:] >= 1).all()
        assert found.rows["dominated_by"].isna().all()
    text = recommendation_markdown(found)
    assert "Keep **base**: of no cheaper rows that were tested none is shown" in text
    assert "(1 seed)" in text and "more trainings" in text


def test_what_is_needed_brings_the_end_of_the_interval_to_the_window():
    random = stream(11, "recommendations")
    found = recommend(simulated(random, [0.018, 0.019]), WINDOW, SIZE)
    row = found.rows.loc["row-0"]
    assert row["answer"] == answers.CANNOT_TELL
    assert row["samples_needed"] > NUM_SAMPLES
    shrunk = found.rows[1:].copy()
    shrunk["error"] *= np.sqrt(NUM_SAMPLES / row["samples_needed"])
    ends = with_intervals(shrunk, num_tested=2).loc["row-0"]
    end = "loss_high" if row["loss"] < WINDOW else "loss_low"
    assert ends[end] == pytest.approx(WINDOW)


@pytest.mark.parametrize(
    ("log_ratio", "is_known"), [(0.0, True), (np.log1p(WINDOW), False)], ids=["inside", "at it"]
)
def test_far_more_than_can_be_made_is_not_a_number(log_ratio, is_known):
    kinds = {"error": 0.01, "freedom": 19, "num_seeds": 3, "sample_error": 0.01}
    row = pd.Series({"log_ratio": log_ratio, "compared": "over seeds", **kinds})
    assert np.isfinite(times_the_samples(row, WINDOW, 1)) == is_known
    assert np.isfinite(seeds_needed(row, WINDOW, 1)) == is_known


def test_a_dominated_row_is_named_with_what_dominates_it():
    found = recommend(simulated(stream(4, "recommendations"), [0.3, 0.0]), WINDOW, SIZE)
    assert found.row == "row-1"
    assert found.rows["dominated_by"]["row-0"] == "row-1"
    assert found.rows["dominated_by"].drop("row-0").isna().all()
    assert found.rows["answer"]["row-0"] == answers.WORSE


@pytest.mark.parametrize(("guide", "hours"), [(None, 0.0), ("base", 0.0), ("other", np.nan)])
def test_what_guides_a_row_is_trained_for_it(guide, hours):
    found = recommend(simulated(stream(5, "recommendations"), [-0.02], guide=guide), WINDOW, SIZE)
    assert found.rows["training_hours"]["row-0"] == pytest.approx(hours, nan_ok=True)
    assert (found.without_training is None) == (guide == "other")
    assert found.row == "row-0"


def test_a_row_that_is_compared_with_another_training_is_still_of_the_bases_weights():
    study = simulated(stream(10, "recommendations"), [0.0, -0.1], is_derived=False)
    study.rows.loc["row-1", ["parent", "derived_from"]] = "row-0", "base"
    found = recommend(study, WINDOW, SIZE)
    assert found.rows["compared"][["row-0", "row-1"]].tolist() == [ONE_TRAINING, THIS_CHECKPOINT]
    assert found.without_training == "row-1" and found.rows["training_hours"]["row-1"] == 0


def test_a_row_that_trains_on_needs_what_it_begins_with_too():
    study = simulated(stream(11, "recommendations"), [0.0, -0.1], is_derived=False)
    study.rows["trained_from"] = [None, "base", "row-0"]
    hours = recommend(study, WINDOW, SIZE).rows["training_hours"]
    assert hours.to_dict() == {"base": 0.0, "row-0": 1.0, "row-1": 2.0}


def test_trained_rows_have_the_hours_of_their_training():
    random = stream(6, "recommendations")
    found = recommend(simulated(random, [-0.1], 3, is_derived=False), 0.5, SIZE)
    assert found.rows["training_hours"].to_dict() == {"base": 0.0, "row-0": 1.0}
    assert (found.with_training, found.without_training) == ("row-0", None)
    assert "over trainings, of which there are 3 pairs. It needs 1 h 00 min of" in advice(found)


class Folder(Files):
    """The files of a small study where a study has them, so that its record finds them."""

    def add(self, kind, name, content):
        path = self.folder / "variants" / name / f"{kind}.json"
        write_json(path, {**content, "origin": ORIGIN})
        self.paths[kind].append(str(path))


@pytest.fixture
def folder(tmp_path):
    """A finished study in which Q-S2 is smaller and as good, and slower."""
    files = Folder(tmp_path)
    left_out = tuple(20.0 + 0.1 * np.arange(NUM_GROUPS))
    for variant, params in (("S2-base", 1000), ("Q-S2", 500)):
        is_base = variant == "S2-base"
        ratio = None if is_base else 1.2
        files.add_costs(
            variant,
            params,
            base=None if is_base else "S2-base",
            latency_over_base=ratio,
            latency_over_base_low=ratio and 1.1,
            latency_over_base_high=ratio and 1.3,
        )
        files.add_quality(variant, 21.0, left_out=left_out)
    files.written("table1.csv", "recommendation.md", "recommendation.json")
    return tmp_path


def recommended(folder, *options):
    (folder / "tables").mkdir(exist_ok=True)
    record = json.loads((folder / "study.json").read_text())
    inputs = record["origin"]["inputs"]
    record["origin"]["inputs"] = {f"../{name}": sha256 for name, sha256 in inputs.items()}
    write_json(folder / "tables/study.json", record, sort_keys=False)
    return main([str(folder), *options])


def test_the_command_line_answers_from_the_files_of_a_study(folder, capsys):
    assert recommended(folder, "--by", "size", "--max-loss", "1.5%", "--batch", "8") == 0
    text = capsys.readouterr().out
    assert text.startswith("# Which row to use: at most 1.5 % worse than S2-base\n")
    assert "Use **Q-S2** in place of S2-base: it saves 50.0 % of the size" in text
    assert "This holds for this checkpoint of S2-base, not for another training." in text
    assert "- With training: none." in text


def test_the_tables_have_the_answer_of_the_defaults(folder, capsys):
    assert recommended(folder) == 0
    assert (folder / "recommendation.md").read_text() == capsys.readouterr().out
    content = json.loads((folder / "recommendation.json").read_text())
    assert (content["row"], content["by"], content["max_loss"]) == ("S2-base", "latency", 0.02)
    of_row = {row["variant"]: row for row in content["rows"]}["Q-S2"]
    assert (of_row["answer"], of_row["loss"]) == (answers.NOT_CHEAPER, 0.0)
    assert of_row["cost"] == pytest.approx(12.0 * 40)  # passes, each at the time of one
    assert "of as many passes as an image takes, eager" in content["cost"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-loss", "2"], "the largest loss is '2'; it should be a percentage, such as 2%."),
        (["--max-loss", "-1%"], "should be a percentage"),
        (["--by", "speed"], f"chosen by 'speed'; it should be one of {', '.join(BY)}."),
        (["--batch", "many"], "the batch size is 'many'; it should be a whole number, such as 8."),
        (["--batch", "64"], "batch size 64 was not measured in this study, but 8; ask for one of"),
        (["--by", "energy"], "energy was not measured in this study at batch size 8; choose"),
    ],
)
def test_bad_arguments_are_told_in_one_sentence(folder, options, message, capsys):
    joined = [f"{options[0]}={options[1]}"]
    assert recommended(folder, *joined) == 1
    out, error = capsys.readouterr()
    assert message in error and error.count("\n") == 1 and not out


def test_a_folder_without_a_study_is_told(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "has no tables/study.json; it should be the folder of a" in capsys.readouterr().err


def decoded(decoding_ms, how):
    """The cost of rows whose decoding took so long, in these precisions."""
    study = simulated(stream(8, "recommendations"), [0.0, 0.0])
    for end in ("", "_low", "_high"):
        study.rows[f"latency_ms_sampler{end}"] = [np.nan if end else 100.0, 50.0, 20.0]
    study.rows["latency_ms_decoder"], study.rows["decoder"] = decoding_ms, how
    return cost_of(study, "latency")


def test_decoding_is_included_and_named():
    """By the median of what was measured beside each row."""
    assert "decoding by the autoencoder not" in decoded(np.nan, np.nan).measured
    found = decoded([7.0, 9.0, 8.0], "float32")
    assert found.values["cost"].tolist() == [108.0, 58.0, 28.0]
    assert found.values["cost_high"].tolist() == [108.0, 58.0, 28.0]
    assert "of decoding, which takes 8.00 ms (float32), at batch size 8" in found.measured


def test_rows_that_decode_otherwise_have_their_own_time_of_decoding():
    found = decoded([7.0, 9.0, 3.0], ["float32", "float32", "float16"])
    assert found.values["cost"].tolist() == [108.0, 58.0, 23.0]
    assert "takes 8.00 ms (float32) and 3.00 ms (float16) for row-1, at" in found.measured
    unknown = decoded([7.0, 9.0, np.nan], ["float32", "float32", None])
    assert unknown.values["cost"].isna().tolist() == [False, False, True]


def test_without_a_clock_arithmetic_is_counted(tmp_path):
    files = Files(tmp_path)
    for row in ROWS:
        files.add_costs(row["variant"], latency_ms=None)
    (text,) = files.written("recommendation.md")
    assert "Cost: MMACs an image, of all passes of an image, counted: no time was measured." in text


@pytest.mark.parametrize("by", BY)
def test_every_measure_is_told_or_refused(by):
    study = simulated(stream(7, "recommendations"), [0.0])
    if by in ("memory", "energy"):
        with pytest.raises(InputError, match=f"{by} was not measured"):
            cost_of(study, by)
    else:
        assert list(cost_of(study, by).values.index) == ["base", "row-0"]
