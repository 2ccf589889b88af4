"""Students of few steps: what they learn from, and how they may be sampled."""

import copy
import re
from types import SimpleNamespace

import pytest
import torch
from subjects import PHOTOS, randomized, tiny
from training_job import TRAINING, trained_checkpoint

from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.models.build import build_model
from slimdit.storage.files import read_csv, read_json
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study
from slimdit.training.objective import Hyperparameters
from slimdit.training.trajectory import TrajectoryObjective, kept_timesteps
from train import train

CPU = torch.device("cpu")
PATH = {"guidance_scale": 2.0, "guided_channels": "all", "guidance_interval": None, "steps": 3}
FEW = {
    "from": "S2-base",
    "training": {"steps": 5},
    "distill": {"teacher": "S2-base", "substeps": 4},
    "sampling": {"steps": 5, "timesteps": "trailing", "guidance_scale": 1.0},
}


def model_of(std):
    return randomized(build_model(tiny(PHOTOS.structure("S2-base"))), torch.float32, std=std)


def objective(student, teacher, substeps, micro_batch_size=None, **path):
    hyper = Hyperparameters(**TRAINING)
    teacher = copy.deepcopy(teacher).requires_grad_(False)
    distillation = {"substeps": substeps, "sampling": PATH | path}
    batches = SimpleNamespace(device=CPU)
    return TrajectoryObjective(student, hyper, batches, 0, teacher, distillation, micro_batch_size)


def sampled(model, objective, **changes):
    """The latents of a batch's noise and labels by the sampler that rows have."""
    x, y = objective.drawn(0)
    sampling = PHOTOS.config["sampling"] | {"timesteps": "trailing", "batch_size": len(x)} | changes
    sampler = LatentSampler(copy.deepcopy(model), sampling, 1000, CPU)
    classes, last = sampler.guidance.classes(y), sampler.diffusion.num_steps - 1
    with torch.inference_mode():
        for k in range(last, -1, -1):
            is_guided = sampler.is_guided[k]
            x, *_ = sampler.step(x, torch.tensor([k]), classes, None, is_guided, ())
    return x


@pytest.mark.parametrize("num_steps", [1, 3, 4, 6, 7])
@pytest.mark.parametrize("substeps", [1, 4, 5])
def test_the_students_timesteps_are_among_its_teachers(num_steps, substeps):
    fine = kept_timesteps(1000, num_steps * substeps)
    assert (fine[substeps - 1 :: substeps] == kept_timesteps(1000, num_steps)).all()


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    model = model_of(0.1)
    assert objective(model, model, substeps=1, guidance_scale=1.0)(0)[0][0] < 1e-6
    assert objective(model, model, substeps=1)(0)[0][0] > 1e-3
    assert objective(model, model, substeps=2, guidance_scale=1.0)(0)[0][0] > 1e-4


@pytest.mark.parametrize("guidance_interval", [None, [0.5, 20.0]])
def test_a_step_is_measured_against_the_teachers_sampling(guidance_interval):
    """Of one step, the teacher's path is its whole sampling."""
    student, teacher = model_of(0.1), model_of(0.2)
    how = {"guidance_scale": 2.0, "guidance_interval": guidance_interval}
    losses = objective(student, teacher, substeps=6, **how, steps=1)
    wanted = sampled(teacher, losses, steps=6, **how)
    ours = sampled(student, losses, steps=1, guidance_scale=1.0)
    expected = (ours - wanted).abs().mean()
    assert losses(0)[0][0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_each_step_begins_where_the_students_own_ended():
    student, teacher = model_of(0.1), model_of(0.2)
    losses, seen = objective(student, teacher, substeps=2), []
    own_step = losses.step
    losses.step = lambda x, y, step: seen.append((step, own_step(x, y, step))) or seen[-1][1]
    losses(0)
    assert [step for step, _ in seen] == [2, 1, 0]
    wanted = sampled(student, losses, steps=3, guidance_scale=1.0)
    torch.testing.assert_close(seen[-1][1].detach(), wanted, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_each_step_alone_and_of_the_whole_batch():
    student, teacher = model_of(0.1), model_of(0.2)
    losses = objective(student, teacher, substeps=2)
    losses(0)
    whole = {name: p.grad.clone() for name, p in student.named_parameters() if p.requires_grad}
    student.zero_grad()
    x, y = losses.drawn(0)
    for step in (2, 1, 0):
        end = losses.step(x, y, step)
        ((end - losses.path_end(x, y, step)).abs().mean() / 3).backward()
        x = end.detach()
    for name, gradient in whole.items():
        torch.testing.assert_close(student.get_parameter(name).grad, gradient)
    student.zero_grad()
    objective(student, teacher, substeps=2, micro_batch_size=1)(0)
    for name, gradient in whole.items():
        own = student.get_parameter(name).grad
        torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-6)


def test_a_student_of_few_steps_trains_and_reports_what_it_has(job, tmp_path):
    distill = {"substeps": 2, "sampling": PATH}
    teacher = trained_checkpoint(tmp_path, "S2-base")
    arguments = job("S2-base") | {"distill": distill, "teacher": teacher, "parent": teacher}
    train(**arguments)
    row, report = read_csv(arguments["losses"])[-1], read_json(arguments["report"])
    assert {name for name, value in row.items() if value} == {"step", "loss", "distillation"}
    assert report["final_distillation"] > 0 and report["final_mse"] is None


def test_a_student_is_told_how_its_teacher_is_sampled(config):
    config["variants"]["few"] = {"group": "Own", **FEW}
    assert not config_problems(config)
    study = Study(config)
    path = study.distillation("few")["sampling"]
    assert path == PATH | {"guidance_scale": 3.0, "steps": 5}
    assert study.takes_few_steps("few") and not study.takes_few_steps("S2-base")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"guidance_scale": 3.0},
            r"own\.sampling\.guidance_scale is 3\.0, and few was trained for",
        ),
        (
            {"steps": 4},
            r"own\.sampling\.steps is 4, and few was trained for steps of its own with 5",
        ),
        ({"sampler": "unipc"}, r"own\.sampling\.sampler is 'unipc', .* sample its teacher S2-base"),
        ({"timesteps": "linspace"}, r"own\.sampling\.timesteps is 'linspace', and few was trained"),
        ({"cache": {"name": "reuse", "every": 2}}, r"own\.sampling\.cache is a mapping, and few"),
        ({"options": {"eta": 1.0}}, r"own\.sampling\.options is a mapping, and few was trained"),
    ],
)
def test_what_a_student_of_few_steps_was_not_trained_for_is_refused(config, changes, message):
    config["variants"] |= {
        "few": {"group": "Own", **FEW},
        "own": {"group": "Own", "from": "few", "sampling": changes},
    }
    problems = config_problems(config)
    assert len(problems) == 1
    assert re.search(message, problems[0])


def test_a_distillation_is_of_noise_or_of_steps(config):
    both = {"teacher": "S2-base", "substeps": 4, "alpha": 0.5}
    config["variants"]["few"] = {"group": "Own", **FEW, "distill": both}
    assert "distill.alpha is 0.5; it should be left out beside" in config_problems(config)[0]
    config["variants"]["few"]["distill"] = {"teacher": "S2-base"}
    assert "distill.alpha is missing" in config_problems(config)[0]
