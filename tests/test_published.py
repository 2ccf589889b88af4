"""DiTs in the layouts of others: the same outputs in both directions, and what is refused."""

import argparse
import json
import os
import re

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from published_models import (
    TINY,
    diffusers_model,
    dit_output,
    dit_tensors,
    inputs_of,
    structure_of,
)
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from slimdit.core.errors import InputError
from slimdit.models.build import build_model, compress, empty_model
from slimdit.models.published import FORMATS
from slimdit.models.published.format import exportable, shapes_of
from slimdit.models.published.source import source_files
from slimdit.profiling.cost import total_params

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
SIZES = [
    TINY,
    structure_of(12, 384, 6, 2, 20, 16),  # S/2
    structure_of(12, 384, 6, 4, 20, 16),  # S/4
]
XL2 = structure_of(28, 1152, 16, 2, 1000, 32)
named = pytest.mark.parametrize("structure", SIZES, ids=["tiny", "S/2", "S/4"])


def layout(name):
    return FORMATS.build({"name": name})


@torch.no_grad()
def outputs(model, structure):
    return model.eval()(*inputs_of(structure)).output


def loaded(published):
    model = empty_model(published.structure)
    model.load_state_dict(published.state)
    return model


def deep(structure, std=0.1):
    """Of weights whose outputs stay near 1 however deep and wide a model is."""
    return std if structure is TINY else 0.03


@named
def test_dits_own_file_gives_the_papers_equations(structure, tmp_path):
    tensors = dit_tensors(structure, deep(structure))
    torch.save(tensors, tmp_path / "dit.pt")
    published = layout("dit").read(tmp_path / "dit.pt", structure["num_heads"])
    assert published.structure == structure
    expected = dit_output(tensors, *inputs_of(structure), structure["num_heads"])
    assert_close(outputs(loaded(published), structure), expected.float(), **CLOSE)
    layout("dit").write(tmp_path / "again.safetensors", published)
    again = load_file(tmp_path / "again.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


@named
@pytest.mark.parametrize("norm_eps", [1e-5, 1e-6])
def test_diffusers_folder_gives_its_own_outputs(structure, norm_eps, tmp_path):
    model = diffusers_model(structure, norm_eps, deep(structure))
    model.save_pretrained(tmp_path)
    published = layout("diffusers").read(tmp_path)
    assert published.structure == structure | {"frequency_shift": 1, "mlp_norm_eps": norm_eps}
    x, t, y = inputs_of(structure)
    with torch.no_grad():
        expected = model(x, timestep=t, class_labels=y).sample
    assert_close(outputs(loaded(published), structure), expected, **CLOSE)


@named
@pytest.mark.parametrize("frequency_shift", [0, 1])
def test_what_is_exported_to_diffusers_gives_our_outputs(structure, frequency_shift, tmp_path):
    from diffusers import DiTTransformer2DModel

    own = structure | {"frequency_shift": frequency_shift}
    torch.save(dit_tensors(structure, deep(structure)), tmp_path / "dit.pt")
    published = layout("dit").read(tmp_path / "dit.pt", structure["num_heads"])
    note = layout("diffusers").write(tmp_path / "out", published._replace(structure=own))
    theirs = DiTTransformer2DModel.from_pretrained(tmp_path / "out").eval()
    if frequency_shift == 0:
        assert "downscale_freq_shift = 0" in note
        for block in theirs.transformer_blocks:
            block.norm1.emb.time_proj.downscale_freq_shift = 0
    x, t, y = inputs_of(structure)
    with torch.no_grad():
        found = theirs(x, timestep=t, class_labels=y).sample
    expected = outputs(loaded(published._replace(structure=own)), structure)
    assert_close(found, expected, **CLOSE)
    again = layout("diffusers").read(tmp_path / "out")
    assert again.state.keys() == published.state.keys()
    for name, tensor in published.state.items():
        assert_close(again.state[name], tensor, rtol=0, atol=1e-6)


def test_an_older_folder_and_a_whole_pipeline_are_read(tmp_path):
    model = diffusers_model(TINY)
    model.save_pretrained(tmp_path / "transformer")
    config_file = tmp_path / "transformer/config.json"
    config = json.loads(config_file.read_text())
    config["_class_name"] = "Transformer2DModel"
    del config["norm_eps"]
    config_file.write_text(json.dumps(config))
    weights = tmp_path / "transformer/diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    published = layout("diffusers").read(tmp_path)
    assert published.structure["mlp_norm_eps"] == 1e-5
    x, t, y = inputs_of(TINY)
    with torch.no_grad():
        expected = model(x, timestep=t, class_labels=y).sample
    assert_close(outputs(loaded(published), TINY), expected, **CLOSE)


def test_xl2_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_model(XL2)
        tensors = layout("dit").pieces(28)
    assert total_params(model) == 675_129_632  # with the frozen table and the learned variance
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 674_834_720
    assert sum(map(len, tensors.values())) == 12 + 10 * 28
    shapes = shapes_of(XL2)
    assert shapes["blocks.27.attention.qkv.weight"] == (3456, 1152)
    assert shapes["blocks.27.mlp.fc1.weight"] == (4608, 1152)
    assert shapes["final_layer.linear.weight"] == (32, 1152)
    assert shapes["label_embedder.weight"] == (1001, 1152)


def test_xl2_has_the_tensors_of_diffusers_own_class():
    from diffusers import DiTTransformer2DModel

    with torch.device("meta"):
        theirs = DiTTransformer2DModel(out_channels=8)  # its defaults are XL/2's
        state = {name: torch.empty(shape) for name, shape in shapes_of(XL2).items()}
    from slimdit.models.published.format import Published

    written = layout("diffusers").exported(Published(XL2, state))
    del written["pos_embed.pos_embed"]
    for name, tensor in theirs.state_dict().items():
        if ".norm1.emb." not in name or name.startswith("transformer_blocks.0."):
            assert written.pop(name).shape == tensor.shape, name
    assert not written


def test_a_training_checkpoint_gives_its_average(tmp_path):
    average = dit_tensors(TINY)
    content = {
        "model": {name: torch.zeros_like(tensor) for name, tensor in average.items()},
        "ema": average,
        "opt": {"state": {}, "param_groups": []},
        "args": argparse.Namespace(model="DiT-XL/2", num_classes=5),
    }
    torch.save(content, tmp_path / "0050000.pt")
    published = layout("dit").read(tmp_path / "0050000.pt", 3)
    assert torch.equal(published.state["position_embedding"], average["pos_embed"])


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


def changed(**replaced):
    return {name: value for name, value in (dit_tensors(TINY) | replaced).items() if value != ()}


def without(name):
    return {key: value for key, value in dit_tensors(TINY).items() if key != name}


BAD_TENSORS = {
    "PixArt": ({"adaln_single.linear.weight": torch.zeros(2)}, "look like PixArt's"),
    "LightningDiT": ({"blocks.0.mlp.w12.weight": torch.zeros(2)}, "look like LightningDiT's"),
    "UNet": ({"input_blocks.0.0.weight": torch.zeros(2)}, "look like a U-Net's"),
    "REPA": ({"decoder_blocks.0.attn.qkv.bias": torch.zeros(2)}, "REPA's, which is the format sit"),
    "SlimDiT": ({"patch_embedder.weight": torch.zeros(2)}, "look like SlimDiT's own"),
    "missing": (without("blocks.1.attn.qkv.bias"), "has no blocks.1.attn.qkv.bias"),
    "extra": (changed(more=torch.zeros(2)), "has more, which a DiT has not"),
    "shape": (
        changed(**{"blocks.1.mlp.fc1.weight": torch.zeros(48, 24)}),
        "blocks.1.mlp.fc1.weight should have the shape (96, 24)",
    ),
    "no variance": (
        changed(
            **{
                "final_layer.linear.weight": torch.zeros(16, 24),
                "final_layer.linear.bias": torch.zeros(16),
            }
        ),
        "with a learned variance",
    ),
    "no number": (
        changed(**{"blocks.0.mlp.fc2.bias": torch.full((24,), torch.nan)}),
        "blocks.0.mlp.fc2.bias holds what is no finite number",
    ),
    "no names": ({0: torch.zeros(2)}, "has no y_embedder.embedding_table.weight"),
    "no state dict": ({"model": 3}, "model is a int|is a int"),
}


@pytest.mark.parametrize("tensors, said", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_tensors_of_another_model_are_refused(tensors, said, tmp_path):
    torch.save(tensors, tmp_path / "dit.pt")
    with pytest.raises(InputError) as refused:
        layout("dit").read(tmp_path / "dit.pt", 3)
    assert one_sentence(refused) and any(each in str(refused.value) for each in said.split("|"))


def test_heads_that_nothing_tells_have_to_be_named(tmp_path):
    torch.save(dit_tensors(TINY), tmp_path / "dit.pt")
    with pytest.raises(InputError, match="name num_heads"):
        layout("dit").read(tmp_path / "dit.pt")


def test_objects_are_not_unpickled(tmp_path):
    torch.save({"model": Payload()}, tmp_path / "dit.pt")
    with pytest.raises(InputError, match="which could run any code"):
        layout("dit").read(tmp_path / "dit.pt")


@pytest.mark.parametrize("name", ["dit.pt", "dit.safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(name, part, tmp_path):
    path = tmp_path / name
    (torch.save if path.suffix == ".pt" else save_file)(dit_tensors(TINY), path)
    with open(path, "rb+") as file:
        file.truncate(int(part * path.stat().st_size))
    with pytest.raises(InputError, match=r"cut short|damaged") as refused:
        layout("dit").read(path, 3)
    assert one_sentence(refused)


@pytest.mark.parametrize("name", ["dit.txt", "nothing.pt"])
def test_a_path_that_is_no_file_of_weights_is_refused(name, tmp_path):
    (tmp_path / "dit.txt").write_text("hello")
    with pytest.raises(InputError, match="should be a file of weights") as refused:
        layout("dit").read(tmp_path / name)
    assert one_sentence(refused)


def edit_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def edit_weights(folder, change):
    weights = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)


COPY = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"
BAD_FOLDERS = {
    "PixArt": (
        lambda folder: edit_config(folder, _class_name="PixArtTransformer2DModel"),
        "is of a PixArtTransformer2DModel",
    ),
    "UNet": (
        lambda folder: edit_config(folder, _class_name="UNet2DModel"),
        "is of a UNet2DModel",
    ),
    "norm": (lambda folder: edit_config(folder, norm_type="ada_norm"), "norm_type ada_norm"),
    "classes": (
        lambda folder: edit_config(folder, num_embeds_ada_norm=7),
        "num_embeds_ada_norm is 7, and by the weights beside it would be 5",
    ),
    "no size": (lambda folder: edit_config(folder, sample_size=None), "sample_size is None"),
    "no patch": (lambda folder: edit_config(folder, patch_size=0), "patch_size is 0; it should be"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "no config of a model"),
    "copies": (
        lambda folder: edit_weights(folder, lambda tensors: tensors[COPY].add_(1)),
        f"{COPY} differs from transformer_blocks.0.",
    ),
    "no weights": (
        lambda folder: (folder / "diffusion_pytorch_model.safetensors").unlink(),
        "should be a DiT in diffusers' layout",
    ),
    "heads": (lambda folder: edit_config(folder, num_attention_heads=6), "has 6 heads"),
}


@pytest.mark.parametrize("spoil, said", BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_folder_of_another_model_is_refused(spoil, said, tmp_path):
    diffusers_model(TINY).save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError) as refused:
        layout("diffusers").read(tmp_path, 3)
    assert one_sentence(refused) and said in str(refused.value)


class NotThere(EntryNotFoundError):
    def __init__(self):
        pass


@pytest.mark.parametrize("folder", ["transformer/", ""])
def test_files_of_the_hub_are_found_where_they_lie(folder, tmp_path, monkeypatch):
    there = {f"{folder}{name}" for name in ("config.json", "diffusion_pytorch_model.bin")}

    def download(source, name, revision):
        if name not in there:
            raise NotThere
        return tmp_path / name

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    files = source_files("someone/dit", 40 * "a", "variants.own.pretrained")
    assert {str(path.relative_to(tmp_path)) for path in files} == there
    there.pop()
    with pytest.raises(
        InputError, match=f"someone/dit has no .* at {40 * 'a'}; it should be a DiT"
    ):
        source_files("someone/dit", 40 * "a", "variants.own.pretrained")


CHANGED = {
    "heads": ({}, [{"name": "prune_heads", "keep_heads": 2}], "pruned heads"),
    "int8": ({}, [{"name": "int8_weight_only"}], "is quantized"),
    "upcycled": ({}, [{"name": "upcycle", "num_experts": 2, "top_k": 2}], "is in no published"),
    "attention": ({"attention": {"name": "shallow"}}, [], "attention is shallow"),
    "mixture": ({"mlp": {"name": "moe", "num_experts": 2, "top_k": 1}}, [], "mlp is moe"),
}


@pytest.mark.parametrize("own, operations, said", CHANGED.values(), ids=CHANGED)
def test_a_model_that_no_layout_holds_is_not_exported(own, operations, said):
    structure = TINY | {"hidden_size": 32, "num_heads": 4} | own
    model = compress(build_model(structure, seed=0), operations)
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        exportable(model, structure, "checkpoint")
    assert one_sentence(refused)


@pytest.mark.parametrize("own", [{"frequency_shift": 1}, {"mlp_norm_eps": 1e-5}])
def test_what_dits_own_code_computes_otherwise_is_not_exported_to_it(own, tmp_path):
    structure = TINY | own
    published = exportable(build_model(structure, seed=0), structure, "checkpoint")
    with pytest.raises(InputError, match=f"the model's {next(iter(own))} is"):
        layout("dit").write(tmp_path / "dit.safetensors", published)
    assert not list(tmp_path.iterdir())


def one_sentence(refused):
    text = str(refused.value)
    return text.endswith(".") and "\n" not in text
