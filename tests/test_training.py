"""Runs of a few steps on a made-up cache: every variant, every way to be interrupted."""

import math
import os
import signal
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from latent_cache import write_latent_cache
from safetensors.torch import load_file, safe_open
from subjects import PHOTOS, random_tensor, randomized, tiny
from training_job import STEPS, TRAINING, start_slowly, trained_checkpoint

from slimdit.core.errors import InputError
from slimdit.data.latents import LatentBatches, LatentCache
from slimdit.diffusion.loss_terms import TERMS
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import load_variant, read_metadata
from slimdit.storage.files import read_csv, read_json
from slimdit.storage.resume_checkpoints import ResumeCheckpoints
from slimdit.study.study import identity
from slimdit.training import loop
from slimdit.training.objective import Hyperparameters, Objective, compiled
from train import train

CPU = torch.device("cpu")


def interrupt_at(monkeypatch, step, error=KeyboardInterrupt):
    """The run dies in `step`, after its update and before anything is saved."""
    update = loop.Progress.update

    def dying_update(self, count=1, **shown):
        update(self, count, **shown)
        if self.done == step:
            raise error

    monkeypatch.setattr(loop.Progress, "update", dying_update)


def states(arguments):
    """Files of the saved states, the newest first."""
    return sorted(Path(arguments["state"]).glob("*.safetensors"), reverse=True)


def state_step(arguments):
    with safe_open(states(arguments)[0], "pt") as file:
        return int(file.metadata()["step"])


def assert_same_results(one, other):
    expected, actual = load_file(one["checkpoint"]), load_file(other["checkpoint"])
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    with open(one["losses"], "rb") as a, open(other["losses"], "rb") as b:
        assert a.read() == b.read()
    assert read_json(one["report"])["expert_load"] == read_json(other["report"])["expert_load"]


@pytest.mark.parametrize("variant", PHOTOS.trained)
def test_every_trained_variant_learns_and_reports(job, variant):
    arguments = job(variant)
    train(**arguments)
    rows, report = read_csv(arguments["losses"]), read_json(arguments["report"])
    moe = arguments["structure"]["mlp"]["name"] == "moe"
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    for row in rows:
        terms = {term for term in row if row[term]} - {"step"}
        assert terms == {"loss", "mse", "vb"} | ({"balance"} if moe else set()) | (
            {"distillation"} if arguments["teacher"] else set()
        )
        assert all(math.isfinite(float(row[term])) for term in terms)
    assert (report["variant"], report["steps"], report["batch_size"]) == (variant, STEPS, 4)
    assert (report["expert_load"] is not None) == moe
    initial = dict(build_model(tiny(PHOTOS.structure(variant)), 0).named_parameters())
    averaged = dict(load_variant(arguments["checkpoint"]).named_parameters())
    moved = {name for name in averaged if not torch.equal(averaged[name], initial[name])}
    assert {"final_layer.linear.weight", "final_layer.linear.bias"} <= moved
    assert "position_embedding" not in moved


def test_a_further_training_begins_with_its_parents_weights(further_job):
    """Its moving average too: without a learning rate nothing else comes out."""
    arguments = further_job(learning_rate=0.0)
    train(**arguments)
    model, metadata = load_variant(arguments["checkpoint"]), read_metadata(arguments["checkpoint"])
    parent = load_variant(arguments["parent"])
    assert metadata["operations"] == arguments["operations"] and len(model.blocks) == 1
    assert "../S2-base.safetensors" in metadata["origin"]["inputs"]
    for name, weight in model.blocks[0].state_dict().items():
        assert any(torch.equal(weight, block.state_dict()[name]) for block in parent.blocks)
    for part in ("label_embedder", "timestep_embedder", "final_layer"):
        own, its = (getattr(each, part).state_dict() for each in (model, parent))
        assert all(torch.equal(own[name], its[name]) for name in its)


@pytest.fixture
def balanced_job(job):
    """As `job`, of a mixture whose experts are balanced by biases."""

    def arguments(*given):
        arguments = job("MoE-S2-8E2A", *given)
        structure = arguments["structure"]
        mlp = structure["mlp"] | {"balance_rate": 0.01}
        return arguments | {"structure": structure | {"mlp": mlp}}

    return arguments


def test_biases_of_experts_are_in_the_checkpoint(balanced_job):
    """Each a sum of as many steps of its rate."""
    arguments = balanced_job()
    train(**arguments)
    for block in load_variant(arguments["checkpoint"]).blocks:
        assert 0 < block.mlp.bias.abs().max() <= 0.01 * STEPS + 1e-6


@pytest.fixture
def aware_job(further_job):
    """As `further_job`, of layers that round as a quantization would."""

    def arguments(*given):
        operations = [{"name": "fake_quantize", "quantization": "int8_dynamic"}]
        return further_job(*given) | {"operations": operations}

    return arguments


@pytest.mark.parametrize("variant", [*PHOTOS.trained, "further", "balanced", "aware"])
def test_resumed_run_equals_the_unbroken_run_bit_for_bit(
    job, further_job, balanced_job, aware_job, variant, monkeypatch
):
    """Step 3 is saved between two log lines, so that sums of the window are carried over too."""
    others = {"further": further_job, "balanced": balanced_job, "aware": aware_job}
    of = others.get(variant) or partial(job, variant)
    unbroken, broken = of("unbroken"), of("broken")
    train(**unbroken)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 5)
        train(**broken)
    assert state_step(broken) == 3
    assert not os.path.exists(broken["checkpoint"])
    train(**broken)
    assert_same_results(unbroken, broken)


def test_finished_run_is_not_trained_again(job, monkeypatch):
    arguments = job("S2-base")
    train(**arguments)
    before, took_s = load_file(arguments["checkpoint"]), read_json(arguments["report"])["wall_s"]
    monkeypatch.setattr(Objective, "__call__", lambda self, step: pytest.fail("trained again"))
    train(**arguments)
    after, report = load_file(arguments["checkpoint"]), read_json(arguments["report"])
    assert report["wall_s"] == took_s == pytest.approx(STEPS / report["steps_per_s"])
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("change", [{"seed": 1}, {"recipe": {"step": "new"}}])
def test_state_of_another_run_is_not_continued(job, monkeypatch, caplog, change):
    arguments = job("S4-base")
    train(**arguments)
    steps, step_of = [], Objective.__call__
    monkeypatch.setattr(
        Objective, "__call__", lambda self, step: steps.append(step) or step_of(self, step)
    )
    assert "Starts anew" not in caplog.text
    train(**arguments | change)
    assert steps == list(range(STEPS))
    assert f"Starts anew: the states in {arguments['state']} are of other settings" in caplog.text


def test_terminated_process_saves_and_the_next_goes_on_to_the_same_bits(job):
    unbroken, broken = (job("MoE-XS2-8E2A", run, steps=60, save_every_steps=1000)
                        for run in ("unbroken", "broken"))  # fmt: skip
    process = start_slowly(broken)
    while process.stdout.readline() != "5\n":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 5 <= state_step(broken) < 60
    assert f"saved at step {state_step(broken)}" in errors
    train(**unbroken)
    train(**broken)
    assert_same_results(unbroken, broken)


@pytest.mark.parametrize("log_every_steps", [1, 100])
def test_loss_that_is_not_finite_keeps_the_last_good_state(job, log_every_steps):
    changes = {"learning_rate": 1e30, "log_every_steps": log_every_steps, "save_every_steps": 1}
    arguments = job("S2-base", **changes)
    with pytest.raises(
        InputError, match=r"The loss is (nan|inf) .* before step 2; .*learning_rate"
    ):
        train(**arguments)
    assert state_step(arguments) == 1
    (path,) = states(arguments)
    assert all(tensor.isfinite().all() for tensor in load_file(path).values())


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "one bit":
        content[-100] ^= 1
    path.write_bytes({"empty": b"", "cut": content[:-100], "one bit": content}[kind])


@pytest.mark.parametrize("kind", ["empty", "cut", "one bit"])
@pytest.mark.parametrize(("num_damaged", "goes_on_at"), [(1, 3), (2, 0)])
def test_a_damaged_state_costs_the_steps_since_the_one_before(
    job, monkeypatch, caplog, kind, num_damaged, goes_on_at
):
    unbroken = job("S4-base", "unbroken", steps=8)
    broken = job("S4-base", "broken", save_every_steps=3, steps=8)
    train(**unbroken)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 7)
        train(**broken)
    assert len(states(broken)) == 2
    for path in states(broken)[:num_damaged]:
        damage(path, kind)
    steps, step_of = [], Objective.__call__
    monkeypatch.setattr(
        Objective, "__call__", lambda self, step: steps.append(step) or step_of(self, step)
    )
    train(**broken)
    assert steps[0] == goes_on_at
    assert caplog.text.count("is damaged") == num_damaged
    assert len(states(broken)) == 1
    assert_same_results(unbroken, broken)


def test_a_weight_that_is_not_finite_is_not_saved(job, monkeypatch):
    """The loss of its step was still finite."""
    update = loop.Run.update

    def breaking_update(self, *arguments):
        update(self, *arguments)
        if self.step == STEPS:
            next(iter(self.parameters.values())).data[0] = float("nan")

    monkeypatch.setattr(loop.Run, "update", breaking_update)
    arguments = job("S4-base", save_every_steps=2)
    with pytest.raises(InputError, match=f"no longer finite before step {STEPS}; the last good"):
        train(**arguments)
    assert state_step(arguments) == STEPS - 2
    assert not Path(arguments["checkpoint"]).exists()


def test_equal_runs_write_equal_checkpoints(job):
    one, other = job("S4-base", "one"), job("S4-base", "other", save_every_steps=2)
    for arguments in (one, other):
        train(**arguments)
    assert Path(one["checkpoint"]).read_bytes() == Path(other["checkpoint"]).read_bytes()


def test_a_finished_run_keeps_its_last_state_alone(job):
    arguments = job("S4-base")
    train(**arguments)
    assert len(states(arguments)) == 1 and state_step(arguments) == STEPS


def test_a_step_that_does_not_fit_in_memory_says_so(job, monkeypatch):
    def too_large(self, step):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(Objective, "__call__", too_large)
    with pytest.raises(InputError, match=r"Step 1 does not fit in memory; make training.micro"):
        train(**job("S4-base"))


@pytest.fixture
def objective(tmp_path):
    """Makes the objective of a variant, with the tiny teacher if asked."""
    cache = LatentCache(*write_latent_cache(tmp_path, num_images=10))
    hyper = Hyperparameters(**TRAINING | {"label_dropout": 0.5})

    def make(
        variant, teacher=None, alpha=0.0, seed=0, takes_guidance=False, lessons=None, **changes
    ):
        own = replace(hyper, **changes)
        model = build_model(tiny(PHOTOS.structure(variant)), 0).train()
        model = compress(model, [{"name": "guidance_input"}] * takes_guidance)
        batches = LatentBatches(cache, hyper.batch_size, hyper.horizontal_flip, seed, CPU)
        return model, Objective(model, own, batches, seed, teacher, lessons or {"alpha": alpha})

    return make


@pytest.fixture
def teacher(tmp_path):
    return load_variant(trained_checkpoint(tmp_path, "S2-base")).requires_grad_(False)


def fitted(model, objective, tmp_path, steps=4):
    run = loop.Run(model, TERMS, 1e-3, 0.5)
    loop.fit(run, steps, objective, ResumeCheckpoints(tmp_path, "key"), 1, 100)
    return run


def test_a_run_names_the_devices_that_it_was_on(objective, tmp_path):
    model, _ = objective("XS2-base")
    before = loop.Run(model, TERMS, 1e-3, 0.5)
    before.goes_on("A100")
    sum(weight.sum() for weight in before.parameters.values()).backward()
    before.update(torch.zeros(5), None)
    before.save(tmp_path / "state")
    after = loop.Run(model, TERMS, 1e-3, 0.5)
    after.load(tmp_path / "state")
    for device in ("A100", "H100", "A100"):
        after.goes_on(device)
    assert after.devices == ["A100", "H100"]


class Exact(torch.nn.Module):
    """A layer that autocast leaves in float32, as a mixture's router is."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 8)

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.layer(x)


def test_compiled_gradients_are_in_the_types_of_the_eager_ones(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    model, x = Exact(), random_tensor("x", 4096, 64, dtype=torch.float32)
    gradients = []
    for each in (model, compiled(model)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = each(x).square().sum()
        loss.backward()
        gradients.append(model.layer.weight.grad.clone())
        model.zero_grad()
    assert torch.equal(*gradients)


def test_distillation_of_no_weight_is_plain_training(objective, teacher, tmp_path):
    plain = fitted(*objective("XS2-base"), tmp_path)
    distilled = fitted(*objective("XS2-base", teacher, alpha=0.0), tmp_path)
    for name, parameter in plain.parameters.items():
        assert torch.equal(parameter, distilled.parameters[name])
    assert [entry["loss"] for entry in plain.history] == [e["loss"] for e in distilled.history]
    assert all(entry["distillation"] > 0 for entry in distilled.history)


def test_distillation_loss_is_the_weighted_sum_of_its_terms(objective, teacher):
    model, losses = objective("XS2-base", teacher, alpha=0.3)
    randomized(model, torch.float32, std=0.1)
    loss, mse, vb, distillation, balance, _ = losses(0)[0].tolist()
    assert loss == pytest.approx(0.7 * (mse + vb) + 0.3 * distillation)
    assert (distillation > 0, balance) == (True, 0)


def test_a_teacher_may_teach_its_variance_and_its_features(objective):
    """By their definitions, in float64; an outlier in either counts for nothing."""
    teacher = randomized(objective("S2-base")[0], torch.float32, std=0.2).requires_grad_(False)
    lessons = {"alpha": 0.5, "variance": True, "features": 0.25}
    model, losses = objective("S2-base", teacher, lessons=lessons)
    randomized(model, torch.float32, std=0.1)
    with torch.no_grad():
        own, its = (each(*losses.batch(2)[1:3], losses.batch(2).y) for each in (model, teacher))
    batch, diffusion = losses.batch(2), losses.diffusion.double()
    steps = []
    for output in (its.output.double(), own.output.double()):
        eps, v = output.chunk(2, dim=1)
        x0 = diffusion.predicted_x0(batch.xt.double(), batch.k, eps)
        mean = diffusion.posterior_mean(x0, batch.xt.double(), batch.k)
        steps.append(
            torch.distributions.Normal(mean, diffusion.log_variance(v, batch.k).exp().sqrt())
        )
    divergence = torch.distributions.kl_divergence(*steps).mean() / math.log(2)
    noise = (own.output.chunk(2, 1)[0] - its.output.chunk(2, 1)[0]).double().square().mean()
    total = 0.0
    for student, taught in zip(own.features.double(), its.features.double(), strict=True):
        usual = torch.ones_like(student, dtype=torch.bool)
        for each in (student, taught):
            usual &= (each - each.mean()).abs() < 2 * each.std()
        assert not usual.all()
        total += ((student - taught)[usual] ** 2).sum() / student.numel() / len(batch.y)
    losses.diffusion.float()
    loss, mse, vb, distillation, _, features = losses(2)[0].tolist()
    assert distillation == pytest.approx((noise + divergence).item(), rel=1e-3)
    assert features == pytest.approx(total.item(), rel=1e-4)
    weight = 0.25 * (1 - 2 / STEPS)
    assert loss == pytest.approx(0.5 * (mse + vb) + 0.5 * distillation + weight * features)


def test_teacher_without_alpha_or_student_that_is_its_teacher_has_no_distillation(objective):
    model, _ = objective("XS2-base")
    randomized(model, torch.float32, std=0.1)
    _, losses = objective("XS2-base", model, alpha=0.3)
    losses.predict = model
    assert losses(0)[0][3].item() == 0


def inputs_of(model, calls):
    model.register_forward_pre_hook(lambda module, arguments: calls.append(arguments))


def test_teacher_sees_the_very_inputs_of_its_student(objective, teacher):
    model, losses = objective("XS2-base", teacher, alpha=0.3)
    student_calls, teacher_calls = [], []
    inputs_of(model, student_calls)
    inputs_of(teacher, teacher_calls)
    losses(0)
    (student_input,), (teacher_input,) = student_calls, teacher_calls
    assert student_input[3] is None
    assert all(own is its for own, its in zip(student_input[:3], teacher_input, strict=True))


def test_a_teacher_of_another_type_than_its_students_passes_has_theirs(objective, teacher):
    """As a wider one would, on a CPU with tiles of bfloat16, by its own width."""
    model, losses = objective("XS2-base", teacher, alpha=0.3, precision="bfloat16")
    assert teacher.modulation[1].weight.dtype == torch.bfloat16
    assert model.modulation[1].weight.dtype == torch.float32
    assert losses(0)[0].isfinite().all()


@pytest.mark.parametrize("is_taught", [False, True])
def test_a_model_that_takes_guidance_learns_by_its_unguided_form(objective, teacher, is_taught):
    teacher = randomized(teacher, torch.float32, std=0.1) if is_taught else None
    model, losses = objective("S2-base", teacher, alpha=0.25 * is_taught, takes_guidance=True)
    randomized(model, torch.float32, std=0.1)
    batch = losses.batch(0)
    dropped = batch.y == model.null_class
    assert 0 < dropped.sum() < len(dropped) and (batch.beta[dropped] == 1).all()
    assert ((batch.beta > 0) & (batch.beta <= 1)).all() and batch.beta[~dropped].max() < 1
    null, beta = torch.full_like(batch.y, model.null_class), batch.beta.view(-1, 1, 1, 1)

    def noise(of, y, *beta):
        return of(batch.xt, batch.k, y, *beta).output.chunk(2, dim=1)[0]

    with torch.no_grad():
        weak = noise(teacher or model, null)
    unguided = beta * noise(model, batch.y, batch.beta) + (1 - beta) * weak
    expected = (unguided - batch.eps).square().mean()
    assert losses(0)[0][1].item() == pytest.approx(expected.item(), rel=1e-5)
    if teacher:
        strong = noise(teacher, batch.y)
        guided = weak + (strong - weak) / beta
        difference = beta * (noise(model, batch.y, batch.beta) - guided)
        expected = difference.square().mean()
        assert losses(0)[0][3].item() == pytest.approx(expected.item(), rel=1e-4)
        return
    own, by_hand = model.guidance_embedder.linear.weight, expected
    (wanted,) = torch.autograd.grad(by_hand, own)
    own.grad = None
    losses.losses(batch, None)[0][1].backward()
    torch.testing.assert_close(own.grad, wanted, rtol=1e-4, atol=1e-7)


def test_teacher_gets_no_gradient(objective, teacher):
    _, losses = objective("XS2-base", teacher.requires_grad_(True), alpha=0.3)
    losses(0)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_variants_train_on_identical_draws(objective):
    seen = []
    for variant in ("S2-base", "MoE-S2-8E2A"):
        model, losses = objective(variant)
        calls = []
        inputs_of(model, calls)
        for step in range(3):
            losses(step)
        seen.append([tensor for call in calls for tensor in call[:3]])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_seeds_train_on_other_draws(objective):
    one, other = (objective("S2-base", seed=seed)[1].draw(0) for seed in (0, 1))
    k, eps, _, *latents = range(len(one))
    assert all(not torch.equal(one[i], other[i]) for i in (k, eps, latents[-1]))


def test_labels_are_dropped_to_the_null_class_at_the_given_rate(objective):
    model, losses = objective("S2-base")
    batches = [losses.batch(step) for step in range(500)]
    k, eps, y = (torch.cat([getattr(each, name) for each in batches]) for name in ("k", "eps", "y"))
    assert set(y.tolist()) == {*losses.batches.labels.tolist(), model.null_class}
    assert (y == model.null_class).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (k.min() >= 0, k.max() < 1000) == (True, True)
    assert eps.std().item() == pytest.approx(1.0, abs=0.05)


def test_balance_loss_enters_with_its_weight(objective):
    _, losses = objective("MoE-S2-8E2A")
    loss, mse, vb, _, balance, _ = losses(0)[0].tolist()
    assert loss == pytest.approx(mse + vb + 0.01 * balance)
    assert balance >= 2 * 0.99  # two layers, each at least about 1


def test_bfloat16_precision_trains_to_nearly_the_same_loss(objective):
    model, losses = objective("S2-base")
    randomized(model, torch.float32, std=0.05)
    exact = losses(0)[0][1].item()
    losses.dtype = torch.bfloat16
    assert losses(0)[0][1].item() == pytest.approx(exact, rel=0.02)


def test_moving_average_follows_its_formula(objective, tmp_path):
    model, losses = objective("S2-base")
    run = loop.Run(model, TERMS, 1e-3, 0.9)
    name = "final_layer.linear.weight"
    expected = run.average[name].clone()
    for step in range(3):
        loop.fit(run, step + 1, losses, ResumeCheckpoints(tmp_path, "key"), 1, 100)
        expected = 0.9 * expected + 0.1 * run.parameters[name].detach()
    torch.testing.assert_close(run.average[name], expected)
    assert expected.abs().sum() > 0


def test_logged_losses_are_means_of_their_interval(objective, tmp_path):
    logs = {}
    for log_every_steps in (1, 2):
        model, losses = objective("MoE-S2-8E2A")
        run = loop.Run(model, TERMS, 1e-3, 0.9)
        loop.fit(run, 4, losses, ResumeCheckpoints(tmp_path, "key"), log_every_steps, 100)
        logs[log_every_steps] = [entry["loss"] for entry in run.history]
    singles = logs[1]
    assert logs[2] == pytest.approx([sum(singles[:2]) / 2, sum(singles[2:]) / 2], rel=1e-5)


def test_final_terms_are_means_over_the_last_tenth():
    history = [{"step": 10 * i, "loss": float(i), "balance": 1.0} for i in range(1, 21)]
    terms = loop.final_terms(history, {"loss"}, ("loss", "balance"))
    assert terms == {"final_loss": 19.5, "final_balance": None, "final_window_steps": 20}


def test_expert_load_is_listed_by_step_layer_and_expert(job):
    arguments = job("MoE-S2-4E1A")
    train(**arguments)
    report = read_json(arguments["report"])["expert_load"]
    assert report["steps"] == [2, 4, 6]
    for layers in report["load"]:
        assert [len(experts) for experts in layers] == [4]
        assert sum(layers[0]) == pytest.approx(1.0)
    assert loop.expert_load([{"step": 1, "expert_load": None}]) is None


def test_hyperparameters_are_those_of_the_config():
    for variant in PHOTOS.trained:
        options = identity(PHOTOS.training(variant))
        assert asdict(Hyperparameters(**options)) == options
