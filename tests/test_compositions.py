"""Any change of a row's model, training or sampling on any other: it works, or is refused with the
reason before anything runs."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from latent_cache import write_latent_cache
from subjects import load_config, randomized

from slimdit.data.latents import LatentBatches, LatentCache
from slimdit.diffusion.guidance import num_passes
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.models.build import build_model, compress
from slimdit.profiling.cost import count_macs
from slimdit.study.config_check import config_problems
from slimdit.study.study import Study, identity
from slimdit.training import objective_of
from slimdit.training.objective import Hyperparameters

CPU = torch.device("cpu")
TRAINING = {"training": {"steps": 2}}
BY_BASE = {"teacher": "S2-base", "alpha": 0.5}
FORMS = {
    "heads": {"apply": [{"name": "prune_heads", "keep_heads": 3}]},
    "blocks": {"apply": [{"name": "prune_blocks", "keep_blocks": 1}]},
    "int8": {"apply": [{"name": "int8_weight_only"}]},
    "told": {"apply": [{"name": "guidance_input"}], **TRAINING, "sampling": {"guide": "input"}},
    "aware": {"apply": [{"name": "fake_quantize", "quantization": "int8_dynamic"}], **TRAINING},
    "further": TRAINING,
    "distilled": {**TRAINING, "distill": BY_BASE},
    "few": {
        **TRAINING,
        "distill": {"teacher": "S2-base", "substeps": 2},
        "sampling": {"steps": 3, "timesteps": "trailing", "guidance_scale": 1.0},
    },
    "solver": {"sampling": {"sampler": "unipc", "steps": 4}},
    "interval": {"sampling": {"guidance_interval": [0.1, 1.0]}},
    "guided": {"sampling": {"guide": "XS2-base"}},
    "cache": {"sampling": {"cache": {"name": "reuse", "every": 2}}},
}
LAST = ": what int8_weight_only made is not trained; it should follow training."
BEHIND_AWARE = "fake_quantize should be followed by int8_weight_only or int8_dynamic."
REFUSED = {  # how the sentence goes on behind the row's name
    **{("int8", form): ".training" + LAST for form in ("further", "distilled", "few")},
    ("int8", "aware"): ".apply[0] is fake_quantize of what int8_weight_only made",
    ("aware", "heads"): f".apply[0] is prune_heads of what fake_quantize made; {BEHIND_AWARE}",
    ("aware", "blocks"): ".apply[0] is prune_blocks of what fake_quantize made",
    ("aware", "told"): ".apply[0] is guidance_input of what fake_quantize made",
    ("aware", "aware"): ".apply[0] is fake_quantize of what fake_quantize made",
    ("int8", "told"): ".apply[0] is guidance_input of what int8_weight_only made",
    ("int8", "heads"): ".apply[0] is prune_heads of what int8_weight_only made",
    ("int8", "blocks"): ".apply[0] is prune_blocks of what int8_weight_only made",
    ("int8", "int8"): ".apply[0] is int8_weight_only of what int8_weight_only made",
    ("few", "solver"): ".sampling.sampler is 'unipc', and first was trained for steps of its own",
    ("few", "cache"): ".sampling.cache is a mapping, and first was trained for steps of its own",
    ("few", "interval"): ".sampling.guidance_interval has no effect with guidance_scale 1.0",
    ("few", "guided"): ".sampling.guide has no effect with guidance_scale 1.0",
    ("solver", "few"): ".sampling.sampler is 'unipc', and second was trained for steps of its own",
    ("cache", "few"): ".sampling.cache is a mapping, and second was trained for steps of its own",
    ("interval", "few"): ".sampling.guidance_interval has no effect with guidance_scale 1.0",
    ("guided", "few"): ".sampling.guide has no effect with guidance_scale 1.0",
}
PAIRS = list(product(FORMS, FORMS))


def study_of(first, second):
    config = load_config("tests/tiny.yaml")
    config["sampling"]["steps"] = 4
    config["variants"] |= {
        "first": {"group": "Own", "from": "S2-base", **copy.deepcopy(FORMS[first])},
        "second": {"group": "Own", "from": "first", **copy.deepcopy(FORMS[second])},
    }
    return Study(config)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_pair_is_sound_or_refused_with_the_reason(first, second):
    problems = config_problems(study_of(first, second).config)
    if reason := REFUSED.get((first, second)):
        assert any(each.startswith(f"variants.second{reason}") for each in problems), problems
    else:
        assert problems == []


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    study = study_of("heads", "blocks")
    side, channels = study.latent_size, study.config["autoencoder"]["latent_channels"]
    folder = tmp_path_factory.mktemp("latents")
    paths = write_latent_cache(folder, num_images=6, channels=channels, side=side)
    return LatentBatches(LatentCache(*paths), 4, False, 0, CPU)


def trained_once(study, row, model, batches):
    """After one step of the row's training."""
    hyper = Hyperparameters(**identity(study.training(row)))
    teacher = study.teacher(row)
    teacher = teacher and made(study, teacher, batches).requires_grad_(False)
    model = model.train().requires_grad_(True)
    model.position_embedding.requires_grad_(False)
    objective = objective_of(model, hyper, batches, 0, teacher, study.distillation(row))
    terms, _ = objective(0)
    assert terms.isfinite().all()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter -= 1e-3 * parameter.grad
    return model


def made(study, row, batches):
    """The row's model, each row on the way compressed and trained as the config has it."""
    block = study.block(row)
    if "from" not in block:
        return randomized(build_model(study.structure(row)), torch.float32, 0.1).eval()
    model = compress(made(study, block["from"], batches), block.get("apply", []))
    return trained_once(study, row, model, batches).eval() if row in study.trained else model


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if not REFUSED.get(pair)])
def test_a_pair_samples_equal_images_at_the_cost_that_is_counted(first, second, batches):
    study = study_of(first, second)
    sampling, guide = study.sampling("second"), study.guide("second")
    model = made(study, "second", batches)
    guiding = guide and made(study, guide, batches)
    assert count_macs(copy.deepcopy(model)) > 0

    def sampler(model):
        return LatentSampler(
            copy.deepcopy(model), sampling, study.num_timesteps("second"), CPU, guiding
        )

    indices, labels, passes = np.arange(3), np.array([0, 1, 2]), []
    whole = sampler(model)
    hook = whole.guidance.denoiser.model.patch_embedder.register_forward_hook(
        lambda module, inputs, output: passes.append(len(output))
    )
    images = whole.latents(indices, labels)
    hook.remove()
    assert images.shape == (3, model.in_channels, model.input_size, model.input_size)
    assert images.isfinite().all()
    assert torch.equal(images, sampler(model).latents(indices, labels))
    alone = sampler(model).latents(indices[1:2], labels[1:2])
    torch.testing.assert_close(alone, images[1:2], rtol=1e-3, atol=1e-3)
    full, cached = num_passes(sampling, study.num_timesteps("second"))
    assert sum(passes) / len(indices) == full.own + cached.own
