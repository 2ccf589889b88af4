"""What a study will cost: its jobs, its bytes, and hours from rates measured or recorded."""

import dataclasses
import itertools
import re
import shutil
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import torch
from subjects import IMAGENET200, ROOT, load_config

from slimdit.core.errors import InputError
from slimdit.plan import __main__ as plan
from slimdit.plan.jobs import pending_jobs
from slimdit.plan.rates import Rates, measured, rate_name, recorded
from slimdit.plan.timers import TIMERS, image_s
from slimdit.plan.work import work_of
from slimdit.storage.files import write_json
from slimdit.study.load import configured_study
from slimdit.study.study import Study

TINY = [str(ROOT / "tests/tiny.yaml")]
STUDY = Study(load_config("tests/tiny.yaml"))
H100 = {"device": "NVIDIA H100", "processor": "a CPU", "commit": "0123456789abcdef"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The jobs of the tiny study, where nothing is done yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(with_config(tmp_path_factory.mktemp("planned")))
        return pending_jobs(STUDY, TINY)


@pytest.fixture
def at_a_second(jobs):
    """Rates of a GPU on which everything that the tiny study needs takes a second."""
    units = (unit for job in jobs for unit in work_of(STUDY, job).units)
    return Rates(H100, {rate_name(STUDY, unit): 1.0 for unit in units})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the embedded study's config, where the command is run."""
    monkeypatch.chdir(with_config(tmp_path))
    return tmp_path


def with_config(folder):
    shutil.copy(ROOT / "config.yaml", folder)
    return folder


def test_jobs_are_those_of_a_dry_run(jobs, folder):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run"),
        *("--cores", "1", "--quiet", "rules"),
        *("--configfile", "config.yaml", *TINY),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE))
    counts = {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}
    assert Counter(job.step for job in jobs) == counts


def test_the_papers_study_is_planned_without_its_images(folder):
    (folder / "workflow").symlink_to(ROOT / "workflow")  # the paper's values
    overlay = str(ROOT / "configs/imagenet200.yaml")
    amounts = Counter()
    for job in pending_jobs(configured_study([overlay]), [overlay]):
        if job.step in ("select_subset", "encode_latents", "train"):
            amounts[job.step] += work_of(IMAGENET200, job).amount
    steps = sum(IMAGENET200.training(row)["steps"] for row in IMAGENET200.trained)
    assert amounts == {
        "select_subset": 200 * 655,
        "encode_latents": 200 * 655,
        "train": steps * len(IMAGENET200.seeds),
    }


def test_a_study_that_snakemake_refuses_ends_in_a_sentence(folder, capsys):
    content = {"study": "photos", "evaluation": {"extractor": "inception-2015"}}
    write_json("fid.json", content | {"extractors": {"inception-2015": {"graph": "none.pb"}}})
    assert plan.main(["--configfile", "fid.json"]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "none.pb does not exist" in sentence


@pytest.mark.parametrize(("gpus", "hours"), [(1, 15), (4, 11), (8, 11)])
def test_the_least_time_is_that_of_all_work_or_of_the_longest_chain(gpus, hours):
    """Two rows of a training, which asks for a GPU, and what comes after it."""
    costs = pd.DataFrame(
        {
            "rule": ["train", "evaluate", "train"],
            "name": ["train A", "evaluate A", "train B"],
            "chain": ["A, seed 0", "A, seed 0", "B, seed 0"],
            "jobs": 1,
            "steps or images": 0,
            "GB": 0.0,
            "hours": [7.0, 4.0, 8.0],
            "takes_gpu": [True, False, True],
        }
    )
    text = plan.report("tiny", costs, Rates(H100, {}))
    assert f"{gpus}: {hours} h 00 min" in text.partition("At least, on GPUs: ")[2]


@pytest.mark.parametrize("slow", itertools.combinations(range(4), 2))
def test_slow_moments_do_not_make_a_batch_slow(slow, monkeypatch):
    now_s, counter = [0.0], itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: now_s[0])

    def call(size):
        now_s[0] += 0.05 + 0.02 * size + 1.0 * (next(counter) in slow)

    seconds = 64 * image_s(call, 64, CPU)
    assert seconds == pytest.approx(0.05 + 0.02 * 64, 0.2)  # scaled from fewer images


def test_each_timer_measures_and_what_it_measured_is_read_again(folder):
    of_row = ("train", "denoise", "compile-train", "compile-sample")
    units = [f"{what} S4-base" if what in of_row else what for what in TIMERS]
    rates = measured(STUDY, units)
    assert len(rates.seconds) == len(TIMERS)
    assert all(rates.seconds[rate_name(STUDY, unit)] > 0 or "compile-" in unit for unit in units)
    write_json("rates.json", dataclasses.asdict(rates))
    assert recorded("rates.json") == rates
    assert {"versions", "time"} <= rates.origin.keys()


def test_recorded_rates_are_used_and_named(at_a_second, folder, capsys):
    write_json("h100.json", dataclasses.asdict(at_a_second))
    assert plan.main(["--configfile", *TINY, "--measurements", "h100.json"]) == 0
    text = capsys.readouterr().out
    assert "Measured on NVIDIA H100 at commit 0123456." in text
    (train,) = re.findall(r"^train .*$", text, re.MULTILINE)
    _, number, steps, _, hours = train.split()
    assert (number, steps) == ("17", "67")
    assert hours == f"{(4 * 67 + 17 * (plan.START_S + 1)) / 3600:.2f}"
    assert "GPU-hours" in text and "At least, on GPUs: 1: " in text


def test_a_rate_that_is_not_recorded_is_named(at_a_second):
    config = load_config("tests/tiny.yaml")
    config["variants"]["S2-base"] |= {"patch_size": 4}
    units = {"train S2-base": 2}
    assert at_a_second.seconds_of(STUDY, units) == 2
    with pytest.raises(InputError, match=r"no train S2-base \w+, which the study needs"):
        at_a_second.seconds_of(Study(config), units)


@pytest.mark.parametrize(
    "content",
    [
        *([], {}, {"origin": H100, "seconds": [1]}, {"origin": {}, "seconds": {}}),
        *({"origin": H100, "seconds": {"decode": seconds}} for seconds in (-2.0, None, [1])),
    ],
)
def test_a_file_of_something_else_is_an_input_error(content, folder):
    write_json("other.json", content)
    with pytest.raises(InputError, match=r"other\.json does not hold measurements of a plan"):
        recorded("other.json")


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [(None, "nope.yaml cannot be read"), ("study: photos\nseeds: none", "config: 1 problem")],
)
def test_a_bad_config_ends_in_a_sentence(folder, capsys, overlay, sentence):
    if overlay:
        (folder / "nope.yaml").write_text(overlay)
    assert plan.main(["--configfile", "nope.yaml"]) == 1
    assert sentence in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(at_a_second, folder, capsys):
    config = load_config("tests/tiny.yaml")
    config["evaluation"]["extractor"] = "inception-2015"
    config["extractors"]["inception-2015"] = {"graph": "none.pb", "backend": "torch"}
    missing = measured(Study(config), ["features"]).seconds
    rates = Rates(H100, at_a_second.seconds | missing)
    write_json("h100.json", dataclasses.asdict(rates))
    assert plan.main(["--configfile", *TINY, "--measurements", "h100.json"]) == 0
    assert (
        "- features could not be measured, and is not counted: none.pb" in capsys.readouterr().out
    )
