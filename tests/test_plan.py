"""What a study will cost: its jobs, its bytes, and hours from rates measured or recorded."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest
import torch
from subjects import IMAGENET200, ROOT, load_config

from slimdit.core.errors import InputError
from slimdit.plan import __main__ as plan
from slimdit.plan.jobs import OF_ALL_CORES, OF_GPU, PlannedJob, planned_jobs
from slimdit.plan.makespan import makespan_s
from slimdit.plan.rates import Rate, Rates, measured, model_of, recorded
from slimdit.plan.timers import TIMERS, image_rate
from slimdit.plan.work import StudyWork
from slimdit.storage.files import read_json, write_json
from slimdit.study.jobs import Job
from slimdit.study.load import configured_study
from slimdit.study.study import Study

TINY = [str(ROOT / "tests/tiny.yaml")]
STUDY = Study(load_config("tests/tiny.yaml"))
H100 = {"device": "NVIDIA H100", "processor": "a CPU", "commit": "0123456789abcdef"}
H100 |= {"load_average": 0.1, "cores": 16}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The jobs of the tiny study, where nothing is done yet and a variant is sampled by three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(with_config(tmp_path_factory.mktemp("planned")))
        return planned_jobs(STUDY, TINY, num_shards=3)


@pytest.fixture
def at_a_second(jobs):
    """Rates of a GPU on which everything that the tiny study needs takes a second."""
    units = (name for job in jobs for name in StudyWork(STUDY).of(job).units)
    models = {variant: model_of(STUDY, variant) for variant in STUDY.variants}
    return Rates(H100, models, {name: Rate(1.0) for name in ("start", *units)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the embedded study's config, where the command is run."""
    monkeypatch.chdir(with_config(tmp_path))
    return tmp_path


def with_config(folder):
    shutil.copy(ROOT / "config.yaml", folder)
    return folder


def cost_of(jobs, rates):
    work_of = StudyWork(STUDY).of
    return [plan.cost_of(job, work_of(job), STUDY, rates) for job in jobs]


def test_jobs_are_those_of_a_dry_run(jobs, folder):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run"),
        *("--cores", "1", "--set-scatter", "samples=3", "--quiet", "rules"),
        *("--configfile", "config.yaml", *TINY),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE))
    counts = {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}
    assert Counter(job.rule for job in jobs) == counts


def test_jobs_ask_for_what_their_rules_do():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    texts = dict(re.findall(r"rule (\w+):\n(.*?)script:", rules, re.DOTALL))
    assert {name for name, text in texts.items() if "gpu=1" in text} == OF_GPU
    assert {name for name, text in texts.items() if "threads: all_cores" in text} == OF_ALL_CORES


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("train KD-XS2", {"encode latents", "train S2-base"}),
        ("train S2-shallow", {"encode latents"}),
        ("compress Q-S2", {"train S2-base"}),
        ("sample Q-S2, part 2-of-3", {"compress Q-S2", "train autoencoder", "encode latents"}),
        ("evaluate Q-S2", {"sample Q-S2", "make reference"}),
        ("compare S2-shallow", {"evaluate S2-shallow", "evaluate S2-base", "make reference"}),
        ("measure speed Q-S2", {"compress Q-S2", "train S2-base"}),
    ],
)
def test_jobs_wait_for_what_they_are_made_from(jobs, job, expected):
    (one,) = (each for each in jobs if each.name.replace(", seed 0", "") == job)
    names = {jobs[position].name.replace(", seed 0", "") for position in one.after}
    if "train autoencoder" not in expected:  # which the data comes from too
        names -= {"train autoencoder", "cut photos", "select subset"}
    assert names == expected


def test_the_papers_study_is_planned_without_its_images(folder):
    (folder / "workflow").symlink_to(ROOT / "workflow")  # the paper's values
    overlay = str(ROOT / "configs/imagenet200.yaml")
    work_of, amounts = StudyWork(IMAGENET200).of, Counter()
    for job in planned_jobs(configured_study([overlay]), [overlay]):
        if job.rule in ("select_subset", "encode_latents", "train"):
            amounts[job.rule] += work_of(job).amount
    steps = sum(IMAGENET200.training(row)["steps"] for row in IMAGENET200.trained)
    assert amounts == {
        "select_subset": 200 * 655,
        "encode_latents": 200 * 650,
        "train": steps * len(IMAGENET200.seeds),
    }


def test_a_study_that_snakemake_refuses_ends_in_a_sentence(folder, capsys):
    content = {"evaluation": {"extractor": "inception-2015"}}
    write_json("fid.json", content | {"extractors": {"inception-2015": {"graph": "none.pb"}}})
    assert plan.main(["--configfile", "fid.json"]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "none.pb does not exist" in sentence


@pytest.mark.parametrize(
    ("after", "gpus", "expected"),
    [
        ([(), (), (), ()], 1, 10.0),
        ([(), (), (), ()], 2, 5.0),
        ([(), (), (), ()], 8, 4.0),
        ([(), (0,), (1,), (2,)], 8, 10.0),
        ([(), (0,), (0,), (1, 2)], 8, 8.0),
        ([(3,), (), (), ()], 8, 5.0),
    ],
)
def test_the_makespan_is_that_of_the_best_order(after, gpus, expected):
    jobs = [PlannedJob(Job(STUDY, "sample"), after=waits) for waits in after]
    assert makespan_s(jobs, [1.0, 2.0, 3.0, 4.0], devices=gpus, cores=1) == expected


def test_jobs_without_a_gpu_share_the_cores():
    jobs = [PlannedJob(Job(STUDY, "evaluate")) for _ in range(3)]
    assert makespan_s(jobs, [1.0] * 3, devices=1, cores=2) == 2.0


def test_a_sharded_samplings_work_is_that_of_one_job_and_its_prompts(jobs):
    work_of = StudyWork(STUDY).of
    its = [job for job in jobs if job.job.variant == "S4-base" and job.job.step == "sample"]
    whole = work_of(PlannedJob(its[0].job))
    parts = [work_of(job) for job in its if job.shard]
    (rest,) = (work_of(job) for job in its if not job.shard)
    assert sorted(part.amount for part in parts) == [3, 3, 6]  # 4 batches of images
    assert (rest.amount, rest.files) == (0, whole.files)
    totals = Counter()
    for each in (*parts, rest):
        totals.update(each.units)
    assert totals == pytest.approx(whole.units)


@pytest.mark.parametrize("slow", itertools.combinations(range(4), 2))
def test_slow_moments_do_not_make_a_batch_slow(slow, monkeypatch):
    now_s, counter = [0.0], itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: now_s[0])

    def call_with(size):
        def call():
            now_s[0] += 0.05 + 0.02 * size + 1.0 * (next(counter) in slow)

        return call

    rate = image_rate(call_with, 16, CPU)
    assert 16 * rate.unit_s == pytest.approx(0.05 + 0.02 * 16, 0.4)  # scaled from fewer images


def test_each_timer_measures_and_what_it_measured_is_read_again(tmp_path):
    names = {what: f"{what} S4-base" if what in ("train", "denoise") else what for what in TIMERS}
    del names["compile"]  # which takes as long as all others
    rates = measured(STUDY, dict.fromkeys(names.values(), 1))
    assert all(rate.unit_s > 0 for rate in rates.rates.values())
    rates.save(tmp_path / "rates.json")
    again = recorded(tmp_path / "rates.json")
    assert (again.rates, again.models) == (rates.rates, rates.models)
    assert {"versions", "time"} <= read_json(tmp_path / "rates.json")["origin"].keys()


def test_recorded_rates_are_used_and_named(at_a_second, folder):
    at_a_second.save("h100.json")
    text = plan.plan(TINY, measurements="h100.json")
    assert "Measured on NVIDIA H100 at commit 0123456 (h100.json)." in text
    (train,) = re.findall(r"^train .*$", text, re.MULTILINE)
    cells = train.split()  # rule, jobs, work, disk, hours, longest job
    assert cells[1:4] == ["13", "52", "steps"]
    assert cells[-3:] == [f"{(4 * 52 + 13) / 3600:.2f}", "17", "s"]
    assert "GPU-hours" in text and "Makespan: 1 GPU " in text


@pytest.mark.parametrize("name", ["train Q-S2", "train S2-shallow"])
def test_a_rate_that_is_not_recorded_is_named(at_a_second, name):
    models = at_a_second.models | {"S2-shallow": []}  # as it was
    rates = Rates(H100, models, at_a_second.rates, "h100.json")
    assert rates.of(STUDY, "train S2-base").unit_s == 1.0
    with pytest.raises(InputError, match=rf"h100\.json has no {name} as the study needs it"):
        rates.of(STUDY, name)


@pytest.mark.parametrize("content", [[], {}, {"origin": H100, "models": {}, "rates": [1]}])
def test_a_file_of_something_else_is_an_input_error(content, tmp_path):
    write_json(tmp_path / "other.json", content)
    with pytest.raises(InputError, match=r"other\.json does not hold measurements of a plan"):
        recorded(tmp_path / "other.json")


@pytest.mark.parametrize(
    "change",
    [{"unit_s": "fast"}, {"unit_s": float("nan")}, {"once_s": -2.0}, {"unit": "a step"}],
)
def test_a_measurement_of_another_kind_is_an_input_error(at_a_second, tmp_path, change):
    path = tmp_path / "h100.json"
    at_a_second.save(path)
    content = read_json(path)
    content["rates"]["decode"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"h100\.json does not hold"):
        recorded(path)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [(None, "nope.yaml cannot be read"), ("seeds: none", "config: 1 problem")],
)
def test_a_bad_config_ends_in_a_sentence(folder, capsys, overlay, sentence):
    if overlay:
        (folder / "nope.yaml").write_text(overlay)
    assert plan.main(["--configfile", "nope.yaml"]) == 1
    assert sentence in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(jobs, at_a_second):
    config = load_config("tests/tiny.yaml")
    config["evaluation"]["extractor"] = "inception-2015"
    config["extractors"]["inception-2015"] = {"graph": "none.pb", "backend": "torch"}
    missing = measured(Study(config), {"features": 1}).rates
    rates = Rates(H100, at_a_second.models, at_a_second.rates | missing)
    text = plan.report("tiny", cost_of(jobs, rates), rates, cores=1)
    assert "- features: not measured, make_reference and evaluate (+) without; none.pb" in text
    (evaluate,) = re.findall(r"^evaluate .*$", text, re.MULTILINE)
    assert evaluate.endswith("+")


@pytest.mark.parametrize(("load", "is_said"), [(0.3, False), (12.0, True)])
def test_a_busy_machine_is_said(jobs, at_a_second, load, is_said):
    rates = Rates(H100 | {"load_average": load}, at_a_second.models, at_a_second.rates)
    text = plan.report("tiny", cost_of(jobs, rates), rates, cores=1)
    assert ("the machine was busy (load 12.0 on 16 cores)" in text) == is_said
