"""What holds for every valid config: built, counted, stored, trained and sampled."""

import math

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from latent_cache import write_latent_cache
from subjects import ROOT, random_tensor, randomized
from valid_specs import ATTENTIONS, last_row, overlays, study_of

from slimdit.data.latents import LatentBatches, LatentCache
from slimdit.diffusion.latent_sampler import LatentSampler, labels_for
from slimdit.diffusion.loss_terms import TERMS
from slimdit.models import ops
from slimdit.models.build import build_model, compress, empty_model
from slimdit.models.checkpoint import load_variant, read_metadata, save_variant
from slimdit.models.component import linear_layers
from slimdit.models.dit import FREQUENCY_SIZE
from slimdit.profiling.cost import active_params, count_macs, total_params
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study, identity
from slimdit.training import objective_of
from slimdit.training.loop import Run
from slimdit.training.objective import Hyperparameters

CPU = torch.device("cpu")
DYNAMIC = {"int8_dynamic", "fp8_dynamic"}
SCHEMA = yaml.safe_load((ROOT / "workflow/scripts/slimdit/study/config.schema.yaml").read_text())
ANY = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def any_spec(test):
    """Run the test on specs of each kind of attention, the same ones every time."""
    return pytest.mark.parametrize("attention", ATTENTIONS)(ANY(given(data=st.data())(test)))


def drawn(data, attention: str) -> tuple[Study, str]:
    """A study, and the row of it that is asked about."""
    overlay = data.draw(overlays(attention))
    return study_of(overlay), last_row(overlay)


def built(study: Study, variant: str, std: float = 0.1):
    """A model of the row with weights drawn at random, as a trained one is not zero anywhere."""
    model = randomized(build_model(study.structure(variant)), torch.float32, std)
    return compress(model, study.operations(variant)).eval()


def predict(model):
    side, channels = model.input_size, model.in_channels
    x = random_tensor("x", 2, channels, side, side, dtype=torch.float32)
    with torch.inference_mode():
        return model(x, torch.tensor([3, 700]), torch.tensor([0, model.null_class]))


@any_spec
def test_it_is_accepted(attention, data):
    study, variant = drawn(data, attention)
    assert not list(Draft202012Validator(SCHEMA).iter_errors(study.config))
    assert config_problems(study.config) == []
    assert study.structure(variant)["attention"]["name"] == attention
    assert study.rows()[-1]["variant"] == variant


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def mlp_params(hidden: int, mlp_ratio: int = 4) -> int:
    return linear(hidden, mlp_ratio * hidden) + linear(mlp_ratio * hidden, hidden)


def attention_params(structure: dict, heads: int) -> int:
    """`heads`: what pruning has left."""
    hidden, options = structure["hidden_size"], structure["attention"]
    dim = hidden // structure["num_heads"]
    if options["name"] == "focused":
        key_value = 2 * dim * structure["num_heads"] // options["group_size"]
        convolution = linear(25, dim) if options.get("local", False) else 0
        return 2 * linear(hidden, hidden) + linear(hidden, key_value) + convolution
    dim = dim // 2 if options["name"] == "shallow" else options.get("head_dim", dim)
    has_convolution = {"mediated": options.get("local", True), "full_local": True}
    convolution = linear(9, hidden) if has_convolution.get(options["name"]) else 0
    return linear(hidden, 3 * heads * dim) + linear(heads * dim, hidden) + convolution


def params_by_hand(structure: dict, operations: list[dict], experts_of) -> int:
    """`experts_of`: how many of a mixture's experts count."""
    hidden, channels = structure["hidden_size"], structure["in_channels"]
    heads, kept = structure["num_heads"], None
    for operation in operations:
        if operation["name"] == "prune_heads" and operation.get("mode") != "masked":
            heads = operation["keep_heads"]
        kept = operation.get("keep_channels", kept)
    pixels = structure["patch_size"] ** 2
    tokens = structure["input_size"] ** 2 // pixels
    total = linear(channels * pixels, hidden) + tokens * hidden
    total += linear(FREQUENCY_SIZE, hidden) + linear(hidden, hidden)
    total += (structure["num_classes"] + 1) * hidden
    total += linear(hidden, 2 * hidden) + linear(hidden, 2 * channels * pixels)
    mlp = structure["mlp"]
    for layer in range(1, structure["depth"] + 1):
        total += linear(hidden, 6 * hidden) + attention_params(structure, heads)
        if kept:
            total += linear(hidden, kept) + linear(kept, hidden)
        elif layer % mlp.get("every", 1):
            total += mlp_params(hidden)
        elif mlp["name"] != "dense":
            experts = experts_of(mlp) + mlp.get("shared", False)
            total += experts * mlp_params(hidden, mlp.get("mlp_ratio", 4))
            total += mlp["num_experts"] * hidden
        else:
            total += mlp_params(hidden, mlp.get("mlp_ratio", 4))
    return total


@any_spec
def test_parameters_are_counted_as_by_hand(attention, data):
    study, variant = drawn(data, attention)
    spec = study.structure(variant), study.operations(variant)
    model = built(study, variant)
    assert total_params(model) == params_by_hand(*spec, lambda mlp: mlp["num_experts"])
    assert active_params(model) == params_by_hand(
        *spec, lambda mlp: mlp.get("top_k") or mlp["capacity"]
    )


def without_weights(study: Study, variant: str):
    """As the rule count_cost builds it."""
    return compress(empty_model(study.structure(variant)), study.operations(variant))


@any_spec
def test_costs_depend_on_neither_weights_nor_kernels(attention, data):
    study, variant = drawn(data, attention)
    model, empty = built(study, variant), without_weights(study, variant)
    macs = count_macs(model)
    assert macs > 0
    assert (total_params(empty), count_macs(empty)) == (total_params(model), macs)
    with ops.plain():
        assert count_macs(model) == macs


def shapes_of(model):
    return {name: layer.weight.shape for name, layer in linear_layers(model)}


@any_spec
def test_pruning_costs_nothing_and_masking_and_quantizing_change_no_count(attention, data):
    study, variant = drawn(data, attention)
    model = built(study, study.trained_ancestor(variant))
    for operation in study.operations(variant):
        before = total_params(model), count_macs(model)
        shapes = shapes_of(model)
        model = compress(model, [operation])
        after = total_params(model), count_macs(model)
        removes = "prune" in operation["name"] and operation.get("mode") != "masked"
        if removes and shapes_of(model) != shapes:
            assert after[0] < before[0] and after[1] < before[1]
        else:
            assert after == before and shapes_of(model) == shapes


@any_spec
def test_prediction_is_finite_and_has_its_shapes(attention, data):
    study, variant = drawn(data, attention)
    structure, prediction = study.structure(variant), predict(built(study, variant))
    side, mlp = structure["input_size"], structure["mlp"]
    assert prediction.output.shape == (2, 2 * structure["in_channels"], side, side)
    assert prediction.output.isfinite().all()

    mixtures = structure["depth"] // mlp.get("every", 1) if mlp["name"] == "moe" else 0
    assert len(prediction.routings) == mixtures
    for loss, load in ((routing.balance_loss(), routing.load) for routing in prediction.routings):
        assert loss.shape == () and 0 < loss.item() < math.inf
        assert load.shape == (mlp["num_experts"],)
        assert load.sum().item() == pytest.approx(1.0)


@any_spec
def test_checkpoint_keeps_output_and_metadata(attention, data, tmp_path):
    study, variant = drawn(data, attention)
    metadata = {
        "structure": study.structure(variant),
        "operations": study.operations(variant),
        "origin": {"variant": variant},
    }
    path, model = tmp_path / "checkpoint.safetensors", built(study, variant)
    save_variant(path, model, **metadata)
    assert metadata.items() <= read_metadata(path).items()
    assert torch.equal(predict(load_variant(path)).output, predict(model).output)


def hyperparameters(training: dict) -> Hyperparameters:
    return Hyperparameters(**identity(training))


def batches_of(structure: dict, hyper: Hyperparameters, folder) -> LatentBatches:
    paths = write_latent_cache(
        folder,
        num_images=7,
        channels=structure["in_channels"],
        side=structure["input_size"],
        num_classes=structure["num_classes"],
    )
    flip = hyper.horizontal_flip
    return LatentBatches(LatentCache(*paths), hyper.batch_size, flip, seed=0, device=CPU)


@any_spec
def test_a_training_step_reaches_every_weight_and_stays_finite(attention, data, tmp_path):
    study, variant = drawn(data, attention)
    root = study.trained_ancestor(variant)
    teacher_name = study.teacher(root)
    structure, hyper = study.structure(root), hyperparameters(study.training(root))
    teacher = teacher_name and built(study, teacher_name, std=0.2).requires_grad_(False)
    model = built(study, root).train()
    run = Run(
        model, TERMS, hyper.learning_rate, hyper.ema_decay, hyper.weight_decay, hyper.adam_betas
    )
    batches = batches_of(structure, hyper, tmp_path)
    objective = objective_of(model, hyper, batches, 0, teacher, study.distillation(root))
    terms, expert_loads = objective(0)

    assert terms.isfinite().all()
    assert (terms[TERMS.index("distillation")] > 0) == (teacher is not None)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    run.update(terms, expert_loads)
    for name, parameter in run.averaged_model().named_parameters():
        assert parameter.isfinite().all(), name


@any_spec
def test_sampled_images_are_finite_and_do_not_depend_on_their_batch(attention, data):
    study, variant = drawn(data, attention)
    sampling = study.sampling(variant)
    num_timesteps = study.training(study.trained_ancestor(variant))["num_timesteps"]
    model = built(study, variant)
    generator = LatentSampler(model, sampling, num_timesteps, CPU)
    labels = labels_for(2, model.num_classes, sampling["labels"], sampling["seed"])
    together = generator.latents(np.arange(2), labels)
    alone = [generator.latents(np.array([i]), labels[i : i + 1]) for i in range(2)]

    assert together.shape == (2, model.in_channels, model.input_size, model.input_size)
    assert together.isfinite().all()
    # An input that is rounded goes to the next step by a last bit.
    is_rounded = not DYNAMIC.isdisjoint(study.components(variant)["compression"])
    rounding = (2e-2 if is_rounded else 1e-4) * together.abs().max().item()
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=rounding)
