"""Differences between rows: their kinds, intervals and marks, against simulated truth."""

import numpy as np
import pandas as pd
import pytest

from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.uncertainty import jackknife_error
from slimdit.reporting.differences import (
    ONE_TRAINING,
    OVER_SEEDS,
    THIS_CHECKPOINT,
    differences,
    holm,
)

NUM_GROUPS = 20
FD = {"fd": "fd"}
SAMPLE_SD, SEED_SD = 1.0, 5.0  # of a distance over other samples, and over trainings
STUDIES = 400


def run(variant, value, left_out=(0.0,) * NUM_GROUPS, seed=0, drawn_from=(0, "balanced")):
    of_samples = {"whole": value, "left_out": list(left_out), "drawn_from": list(drawn_from)}
    content = {"variant": variant, "seed": seed, "metrics": {"fd": value}}
    return content | {"jackknife": {"fd": of_samples}}


def rows(*names, derived=False):
    source = "base" if derived else None
    about = {"base": (None, None)} | dict.fromkeys(names, ("base", source))
    return pd.DataFrame.from_dict(about, orient="index", columns=["parent", "derived_from"])


def groups_of(random, sd=SAMPLE_SD):
    """Values without each group, of which the standard error over other samples is `sd`."""
    return random.normal(scale=sd / np.sqrt(NUM_GROUPS - 1), size=NUM_GROUPS)


def test_a_row_of_its_parents_weights_is_compared_by_pairs_of_samples():
    random = stream(0, "pairs")
    shared, own = groups_of(random, 9.0), groups_of(random, 0.5)
    runs = [run("base", 30.0, 30 + shared), run("Q", 32.0, 32 + shared + own)]
    found = differences(runs, rows("Q", derived=True), FD).loc["Q"]
    error = jackknife_error(own)
    assert (found["compared"], found["fd_difference"]) == (THIS_CHECKPOINT, 2.0)
    assert found["fd_high"] - found["fd_low"] == pytest.approx(2 * 2.0930241 * error)
    assert found["fd_significant"] is True


def test_samples_of_other_noise_are_no_pairs():
    random = stream(0, "pairs")
    shared, own = groups_of(random, 9.0), groups_of(random, 0.5)
    other = run("Q", 32.0, 32 + shared + own, drawn_from=(1, "balanced"))
    found = differences([run("base", 30.0, shared), other], rows("Q", derived=True), FD)
    error = np.hypot(jackknife_error(shared), jackknife_error(shared + own))
    width = found.loc["Q", "fd_high"] - found.loc["Q", "fd_low"]
    assert width == pytest.approx(2 * 2.0930241 * error)


def test_checkpoints_of_several_seeds_share_their_noise():
    """What their pairs have in common does not cancel in the mean over the seeds."""
    random = stream(0, "checkpoints")
    common = groups_of(random)
    own = [common + groups_of(random, 0.1) for _ in range(2)]
    runs = [run("base", 10.0 * seed, [10.0 * seed] * NUM_GROUPS, seed) for seed in (0, 1)]
    runs += [run("Q", 10.0 * seed + 1 + seed, 10.0 * seed + own[seed], seed) for seed in (0, 1)]
    found = differences(runs, rows("Q", derived=True), FD).loc["Q"]
    assert found["fd_difference"] == 1.5
    error = jackknife_error(np.mean(own, axis=0))
    assert error > 0.9 * jackknife_error(common)
    assert found["fd_high"] - found["fd_low"] == pytest.approx(2 * 2.0930241 * error)


def test_what_a_file_does_not_say_is_not_known():
    older = run("base", 30.0) | {"jackknife": {}}
    found = differences([older, run("Q", 32.0)], rows("Q", derived=True), FD).loc["Q"]
    assert found["compared"] == THIS_CHECKPOINT
    assert found.filter(like="fd_").isna().all()


def test_a_trained_row_is_compared_by_pairs_of_trainings():
    runs = [run("base", value, seed=seed) for seed, value in enumerate((680.4, 665.5, 643.6))]
    runs += [run("shallow", value, seed=seed) for seed, value in enumerate((641.6, 685.6, 666.5))]
    found = differences(runs, rows("shallow"), FD).loc["shallow"]
    assert found["compared"] == OVER_SEEDS
    assert found["fd_difference"] == pytest.approx(1.4)
    assert (found["fd_low"], found["fd_high"]) == pytest.approx((-85.1, 87.9), abs=0.1)
    assert found["fd_significant"] is False


def test_one_training_each_tells_nothing():
    found = differences([run("base", 680.4), run("shallow", 641.6)], rows("shallow"), FD)
    assert found.loc["shallow", "compared"] == ONE_TRAINING
    assert found.filter(like="fd_").isna().all(axis=None)


def test_only_trainings_of_the_same_seed_are_pairs():
    runs = [run("base", 1.0, seed=0), run("base", 2.0, seed=1), run("shallow", 3.0, seed=1)]
    assert differences(runs, rows("shallow"), FD).loc["shallow", "compared"] == ONE_TRAINING
    assert differences(runs[:1] + runs[2:], rows("shallow"), FD).empty


def test_the_same_samples_differ_by_nothing():
    runs = [run("base", 5.0), run("Q", 5.0)]
    found = differences(runs, rows("Q", derived=True), FD).loc["Q"]
    assert (found["fd_difference"], found["fd_p"], found["fd_significant"]) == (0.0, 1.0, False)


def test_holm_multiplies_the_smallest_by_how_many_are_left():
    adjusted = holm(pd.Series({"a": 0.01, "b": 0.04, "c": np.nan, "d": 0.03}))
    assert adjusted.drop("c").to_dict() == pytest.approx({"a": 0.03, "b": 0.06, "d": 0.06})
    assert np.isnan(adjusted["c"])


def marked(num_seeds, num_rows=6, effect=0.0, derived=False):
    """The fraction of studies in which a row is marked; the first row has the effect."""
    names = [f"row-{i}" for i in range(num_rows)]
    count = 0
    for study in range(STUDIES):
        random = stream(study, "study", num_seeds)
        sample_sd, seed_sd = SAMPLE_SD, 0.0 if derived else SEED_SD
        runs = []
        for seed in range(num_seeds):
            for name in ("base", *names):
                left_out = groups_of(random, sample_sd)
                value = 100 + random.normal(scale=np.hypot(sample_sd, seed_sd))
                value += effect * (name == "row-0")
                runs.append(run(name, value, left_out, seed))
        found = differences(runs, rows(*names, derived=derived), FD)
        of = found["fd_significant"] if not effect else found.loc[["row-0"], "fd_significant"]
        count += any(each is True for each in of)
    return count / STUDIES


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5])
def test_at_most_one_study_in_twenty_marks_a_row_that_does_not_differ(num_seeds):
    """Where trainings spread five times as far as samples do; and of rows of the same weights."""
    chance = 3 * np.sqrt(0.05 * 0.95 / STUDIES)
    assert marked(num_seeds) <= (0.05 + chance if num_seeds > 1 else 0)
    assert marked(num_seeds, derived=True) <= 0.05 + chance


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_a_metric_in_steps_marks_no_more(num_seeds):
    """Class accuracy of 260 samples: the changes of two seeds are often equal."""
    names, count = [f"row-{i}" for i in range(14)], 0
    for study in range(STUDIES):
        random = stream(study, "steps", num_seeds)
        runs = [
            run(
                name,
                random.binomial(260, np.clip(0.87 + random.normal(scale=0.01), 0, 1)) / 260,
                groups_of(random, np.sqrt(0.87 * 0.13 / 260)),
                seed,
            )
            for seed in range(num_seeds)
            for name in ("base", *names)
        ]
        count += differences(runs, rows(*names), FD)["fd_significant"].eq(True).any()
    assert count / STUDIES <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / STUDIES)


def test_more_seeds_find_more():
    found = [marked(num_seeds, num_rows=1, effect=4 * SEED_SD) for num_seeds in (1, 2, 3, 5)]
    assert found[0] == 0
    assert found[1] < found[2] < found[3]
    assert found[3] > 0.9
