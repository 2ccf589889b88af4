"""What a study will cost: its jobs, its bytes, and hours from speeds measured or recorded."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from subjects import IMAGENET200, ROOT

from slimdit.core.errors import InputError
from slimdit.evaluation.features import EXTRACTORS, build_extractor
from slimdit.plan import __main__ as plan
from slimdit.plan import clock, timers
from slimdit.plan import speeds as plan_speeds
from slimdit.plan.clock import Timed, fastest_s, time_batches
from slimdit.plan.jobs import PlannedJob, planned_jobs
from slimdit.plan.makespan import wall_s
from slimdit.plan.outliers import macs, outliers
from slimdit.plan.speeds import Speeds, measured, recorded
from slimdit.plan.timers import TIMERS, made_up_images, time_start
from slimdit.plan.work import WIDTHS, StudyWork
from slimdit.storage.files import read_json, write_json
from slimdit.study.study import Study

TINY = [ROOT / "config.yaml", ROOT / "tests/tiny.yaml"]
H100 = {"device": "NVIDIA H100", "processor": "a CPU", "commit": "0123456789abcdef"}
H100 |= {"load_average": 0.1, "cores": 16}


@pytest.fixture(scope="module")
def todo(tmp_path_factory):
    """The jobs of the tiny study with their work, where nothing is done yet."""
    config, jobs = planned_jobs(TINY, 1, tmp_path_factory.mktemp("planned"))
    work = StudyWork(Study(config))
    return [(job, work.of(job)) for job in jobs]


@pytest.fixture
def at_a_second(todo):
    """Speeds of a GPU on which everything that the tiny study needs takes a second."""
    timings = plan.timings(todo, lambda job: job.threads)
    return Speeds(H100, {key: (timing, Timed(1.0)) for key, (timing, _) in timings.items()})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the embedded study's config, where the command is run."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_jobs_are_those_of_a_dry_run(todo, tmp_path):
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run"),
        *("--directory", tmp_path, "--cores", "1", "--quiet", "rules", "--configfile", *TINY),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", run.stdout + run.stderr, re.MULTILINE))
    counts = {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}
    assert Counter(job.rule for job, _ in todo) == counts


def test_the_papers_study_is_planned_without_its_images(tmp_path):
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")  # the paper's values
    overlay = ROOT / "configs/imagenet200.yaml"
    config, jobs = planned_jobs([ROOT / "config.yaml", overlay], 2, tmp_path)
    work = StudyWork(Study(config))
    amounts = Counter()
    for job in jobs:
        if job.rule in ("select_subset", "encode_latents"):
            amounts[job.rule] += work.of(job).amount
    assert amounts == {"select_subset": 200 * 655, "encode_latents": 200 * 650}


def test_a_study_that_is_refused_ends_in_a_sentence(tmp_path):
    (tmp_path / "wrong.yaml").write_text("extractors: {inception-2015: {graph: none.pb}}\n")
    write_json(tmp_path / "fid.json", {"evaluation": {"extractor": "inception-2015"}})
    files = [ROOT / "config.yaml", tmp_path / "wrong.yaml", tmp_path / "fid.json"]
    with pytest.raises(InputError, match=r"none\.pb does not exist"):
        planned_jobs(files, 1, tmp_path)


@pytest.mark.parametrize(
    ("after", "gpus", "expected"),
    [
        ([(), (), (), ()], 1, 10.0),
        ([(), (), (), ()], 2, 5.0),
        ([(), (), (), ()], 8, 4.0),
        ([(), (0,), (1,), (2,)], 8, 10.0),
        ([(), (0,), (0,), (1, 2)], 8, 8.0),
    ],
)
def test_wall_time_is_that_of_the_best_order(after, gpus, expected):
    jobs = [PlannedJob("train", None, 0, 1, 1, waits) for waits in after]
    assert wall_s(jobs, [1.0, 2.0, 3.0, 4.0], cores=8, gpus=gpus) == expected


def test_jobs_without_a_gpu_share_the_cores():
    jobs = [PlannedJob("evaluate", None, 0, 2, 0) for _ in range(3)]
    assert wall_s(jobs, [1.0] * 3, cores=4, gpus=0) == 2.0


def test_a_sharded_samplings_work_is_that_of_one_job_and_its_prompts(todo, folder):
    config, jobs = planned_jobs(TINY, 1, folder, shards=3)  # 4 batches of images a variant
    work = StudyWork(Study(config))
    name = jobs[0].variant or next(job.variant for job in jobs if job.rule == "sample")
    whole = next(work for job, work in todo if (job.rule, job.variant) == ("sample", name))
    its = [job for job in jobs if job.variant == name]
    parts = [work.of(job) for job in its if job.rule == "sample_shard"]
    (rest,) = (work.of(job) for job in its if job.rule == "sample")
    assert sorted(part.amount for part in parts) == [3, 3, 6]
    assert (rest.amount, rest.files) == (0, whole.files)
    totals = Counter()
    for timing in (timing for each in (*parts, rest) for timing in each.timings):
        totals[timing.key] += timing.count
    assert totals == pytest.approx({timing.key: timing.count for timing in whole.timings})


class Device:
    def __init__(self, kind="cpu"):
        self.type = kind


@pytest.fixture
def calls(monkeypatch):
    """Calls give the seconds that they take."""
    monkeypatch.setattr(clock, "seconds_of", lambda call, device: call())


@pytest.mark.parametrize(
    ("device", "image_s", "size"),
    [
        ("cpu", 0.001, 256),
        ("cpu", 0.1, 5),
        ("cpu", 0.7, 2),
        ("cpu", 2.5, 2),
        ("cpu", 5.0, 1),
        ("cuda", 5.0, 256),
    ],
)
def test_a_batch_that_takes_long_is_scaled_on_a_cpu(calls, device, image_s, size):
    timed = time_batches(lambda size: lambda: image_s * size, 256, Device(device))
    assert timed.wall_s == pytest.approx(256 * image_s)
    assert (timed.batch_size, timed.measured_batch_size) == (256, size)


def test_what_a_call_costs_whatever_its_size_is_not_scaled(calls):
    timed = time_batches(lambda size: lambda: 0.05 + 0.001 * size, 256, Device())
    assert timed.wall_s == pytest.approx(0.306)


@pytest.mark.parametrize("slow", itertools.combinations(range(6), 2))
@pytest.mark.parametrize("image_s", [0.0005, 0.02, 0.3])
def test_slow_moments_do_not_make_a_batch_slow(calls, image_s, slow):
    counter = itertools.count()

    def at(size):
        return lambda: image_s * size + 1.0 * (next(counter) in slow)

    timed = time_batches(at, 16, Device())
    assert timed.wall_s == pytest.approx(16 * image_s)


@pytest.mark.parametrize(("call_s", "count"), [(0.001, 20), (0.12, 4), (1.0, 3), (60.0, 2)])
def test_long_calls_are_repeated_less(calls, call_s, count):
    made = []
    fastest_s(lambda: made.append(0) or call_s, Device())
    assert len(made) == count


def test_models_much_slower_than_their_like_are_timed_again(todo, monkeypatch):
    timings = plan.timings(todo, lambda job: job.threads)
    timings = {key: pair for key, pair in timings.items() if pair[0].what == "train"}
    slow, *_ = timings
    assert len(timings) > 3
    taken = Counter()

    def timer(of, device):
        timing = next(timing for timing, _ in timings.values() if timing.of is of)
        taken[timing.key] += 1
        is_slow = timing.key == slow and taken[slow] == 1
        return Timed(1e-9 * 4 * macs(timing) * (6 if is_slow else 1), 0.0, 4, 4)

    monkeypatch.setitem(TIMERS, "train", timer)
    speeds = measured(timings)
    assert taken == dict.fromkeys(timings, 1) | {slow: 2}
    assert not outliers(speeds.timed)


def test_a_training_step_with_a_teacher_counts_its_pass():
    def timing(variant):
        teacher = IMAGENET200.teacher(variant)
        of = {"structure": IMAGENET200.structure(variant)}
        of["teacher"] = teacher and IMAGENET200.structure(teacher)
        return plan_speeds.Timing("train", of, 1)

    student, base, alone = map(timing, ("KD-XS2", "S2-base", "XS2-base"))
    assert macs(student) == macs(alone) + macs(base) // 3
    assert macs(replace(base, what="denoise")) == macs(base) // 3


def test_a_process_that_does_not_start_is_no_fast_start(monkeypatch):
    monkeypatch.setattr(timers, "START", "import no_such_module")
    with pytest.raises(InputError, match=r"does not start \(ModuleNotFoundError: .*no_such_module"):
        time_start({}, Device())


def test_each_timer_measures_and_what_it_measured_is_read_again(todo, tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "TARGET_S", 0.0)
    monkeypatch.setattr(clock, "PATIENCE_S", 0.0)
    by_what = {
        timing.what: (key, (timing, threads))
        for key, (timing, threads) in plan.timings(todo, lambda job: job.threads).items()
    }
    assert TIMERS.keys() - by_what.keys() == {"compile_blocks"}  # which the tiny study does not
    speeds = measured(dict(by_what.values()))
    assert all(timed.wall_s > 0 for _, timed in speeds.timed.values())
    speeds.save(tmp_path / "speeds.json")
    again = recorded(tmp_path / "speeds.json")
    assert {key: timed for key, (_, timed) in again.timed.items()} == {
        key: timed for key, (_, timed) in speeds.timed.items()
    }
    assert {"versions", "time"} <= read_json(tmp_path / "speeds.json")["origin"].keys()


def test_recorded_speeds_are_used_and_named(at_a_second, folder):
    at_a_second.save("h100.json")
    text = plan.plan(TINY, measurements="h100.json")
    assert "Measured on NVIDIA H100 at commit 0123456 (h100.json)." in text
    (train,) = re.findall(r"^train .*$", text, re.MULTILINE)
    cells = train.split()  # rule, jobs, work, disk, GPU-hours, longest job
    assert cells[1:4] == ["13", "52", "steps"]
    assert cells[-3:] == [f"{(52 + 13) / 3600:.2f}", "5.00", "s"]
    assert "GPU-hours" in text and "1 GPU " in text


def test_a_speed_that_is_not_recorded_is_named(at_a_second, folder, capsys):
    kept = {key: pair for key, pair in at_a_second.timed.items() if pair[0].what != "train"}
    Speeds(H100, kept).save("h100.json")
    assert plan.main(["--configfile", *map(str, TINY), "--measurements", "h100.json"]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert re.match(r"h100\.json has no train as train [\w-]+ needs it; measure anew", sentence)


@pytest.mark.parametrize("content", [[], {}, {"origin": H100, "timed": [{"what": "train"}]}])
def test_a_file_of_something_else_is_an_input_error(content, tmp_path):
    write_json(tmp_path / "other.json", content)
    with pytest.raises(InputError, match=r"other\.json does not hold measurements of a plan"):
        recorded(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"wall_s": "fast"}, "wall_s is 'fast'"),
        ({"wall_s": float("nan")}, "wall_s is nan"),
        ({"once_s": -1.0}, "once_s is -1.0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"of": []}, r"of is \[\]"),
        ({"note": 3}, "note is 3"),
    ],
)
def test_a_measurement_of_another_kind_is_an_input_error(at_a_second, tmp_path, change, problem):
    path = tmp_path / "h100.json"
    at_a_second.save(path)
    content = read_json(path)
    content["timed"][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"h100\.json does not hold .*\({problem}\)"):
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


def test_what_cannot_be_measured_is_said(todo, at_a_second, monkeypatch):
    def refuse(of, device):
        raise InputError("the graph does not exist.")

    monkeypatch.setitem(TIMERS, "features", refuse)
    (key,) = (key for key, (timing, _) in at_a_second.timed.items() if timing.what == "features")
    missing = measured({key: (at_a_second.timed[key][0], 1)})
    speeds = Speeds(H100, at_a_second.timed | missing.timed)
    text = plan.report("tiny", plan.costs(todo, speeds), speeds, cores=1)
    rules = "make_reference and evaluate (+) without features"
    assert f"{rules}, not measured: the graph does not exist." in text
    (evaluate,) = re.findall(r"^evaluate .*$", text, re.MULTILINE)
    assert evaluate.endswith("+")


@pytest.mark.parametrize(("load", "is_said"), [(0.3, False), (12.0, True)])
def test_a_busy_machine_is_said(todo, at_a_second, load, is_said):
    speeds = Speeds(H100 | {"load_average": load}, at_a_second.timed)
    text = plan.report("tiny", plan.costs(todo, speeds), speeds, cores=1)
    assert ("The machine was busy (load 12.0 on 16 cores)" in text) == is_said


def test_a_finished_study_needs_nothing(monkeypatch):
    config, _ = planned_jobs(TINY, 1)
    monkeypatch.setattr(plan, "planned_jobs", lambda *_, **__: (config, []))
    monkeypatch.setattr(plan_speeds, "measured", None)
    assert plan.plan(TINY) == "Study tiny: nothing to do, all of it is finished."


def test_numbers_of_features_are_those_of_the_extractors():
    assert WIDTHS.keys() == EXTRACTORS.keys()
    for size in (64, 100):
        extractor = build_extractor("efficientnet-lite0", input_size=size)
        made = extractor.batch_features(made_up_images(1, 48))
        assert tuple(each.shape[1] for each in made) == WIDTHS["efficientnet-lite0"](size)
