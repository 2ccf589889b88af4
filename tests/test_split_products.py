"""Products of float32 by three of bfloat16, against float64."""

import shutil

import numpy as np
import pytest
import torch
from subjects import IMAGENET200, PHOTOS, random_tensor, randomized, tiny

from slimdit import kernels, precision, split_products
from slimdit.errors import InputError
from slimdit.generation import Generator
from slimdit.precision import BFLOAT16X3, chosen_precision, lack_for_split_products
from slimdit.split_products import COLUMNS, Halves, SplitLinear
from slimdit.stored_weights import store_for
from slimdit.variants import apply_operations, build_model

CPU = torch.device("cpu")
ERROR = 2**-15  # of a product, in parts of the sum of its terms' sizes


@pytest.fixture(scope="module")
def kernel():
    if lack := lack_for_split_products(CPU):
        pytest.skip(lack)
    split_products.load_kernel()


def float32(what: str, *shape: int) -> torch.Tensor:
    return random_tensor(what, *shape, dtype=torch.float32)


@pytest.mark.parametrize("shape", [(2, 1), (6, COLUMNS), (4, COLUMNS + 3), (3, 8, 2 * COLUMNS)])
def test_halves_are_the_weight_in_the_order_of_tiles(shape):
    weight = float32("weight", *shape)
    halves = Halves(weight)
    *groups, depth, width = shape
    blocks = -(-width // COLUMNS)
    assert halves.width == width
    assert halves.high.shape == halves.low.shape == (*groups, blocks, depth // 2, COLUMNS, 2)
    both = halves.high.double() + halves.low.double()
    unpacked = both.movedim(-1, -2).movedim(-4, -2).flatten(-2).flatten(-3, -2)
    assert not unpacked[..., width:].any()
    error = (unpacked[..., :width] - weight).abs()
    assert (error <= 2**-16 * weight.abs()).all()


@pytest.mark.parametrize("rows", [1, 16, 127, 129, 300])
@pytest.mark.parametrize("depth, width", [(2, 1), (64, 32), (514, 129), (1536, 384), (96, 300)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_are_those_of_float64(kernel, rows, depth, width, has_bias):
    linear = randomized(torch.nn.Linear(depth, width, bias=has_bias), torch.float32)
    x = float32("x", rows, depth)
    found = SplitLinear(linear)(x)
    expected = linear.double()(x.double())
    sizes = x.double().abs() @ linear.weight.abs().t()
    assert found.dtype == torch.float32
    assert ((found - expected).abs() <= ERROR * sizes + 1e-6).all()


def test_any_layout_and_any_number_of_dimensions_are_multiplied(kernel):
    linear = randomized(torch.nn.Linear(64, 40), torch.float32)
    split = SplitLinear(linear)
    x = float32("x", 3, 64, 5).transpose(1, 2)
    found = split(x)
    assert found.shape == (3, 5, 40)
    assert torch.equal(found, split(x.contiguous()))
    assert torch.equal(found[1, 2], split(x[1, 2][None])[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_stays_none(kernel, value):
    linear = randomized(torch.nn.Linear(64, 40), torch.float32)
    x = float32("x", 5, 64)
    x[3, 7] = value
    found = SplitLinear(linear)(x)
    assert not found[3].isfinite().any()
    assert found[[0, 1, 2, 4]].isfinite().all()


def test_segments_are_multiplied_each_by_its_own_weight(kernel):
    x, weight = float32("x", 200, 64), float32("weight", 4, 64, 130)
    ends = torch.tensor([3, 3, 150, 200], dtype=torch.int32)
    found = kernels.grouped_matmul(x, Halves(weight), ends)
    with kernels.plain():
        expected = kernels.grouped_matmul(x.double(), weight.double(), ends)
    sizes = kernels.grouped_matmul(x.double().abs(), weight.double().abs(), ends)
    assert ((found - expected).abs() <= ERROR * sizes).all()


def test_any_number_of_threads_gives_the_same_bits(kernel):
    linear = SplitLinear(randomized(torch.nn.Linear(530, 300), torch.float32))
    x, num_threads = float32("x", 300, 530), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            found.append(linear(x))
    finally:
        torch.set_num_threads(num_threads)
    assert all(torch.equal(found[0], each) for each in found[1:])


def test_layers_of_an_odd_depth_stay_as_they_are(kernel):
    model = randomized(build_model(tiny(PHOTOS.structure("S2-base"))), torch.float32)
    model.blocks[0].mlp.fc2 = torch.nn.Linear(27, model.hidden_size)
    store_for(BFLOAT16X3, model)
    assert type(model.blocks[0].mlp.fc2) is torch.nn.Linear
    assert type(model.blocks[0].mlp.fc1) is SplitLinear


def test_what_does_not_fit_is_refused(kernel):
    with pytest.raises(RuntimeError, match="do not fit"):
        SplitLinear(torch.nn.Linear(64, 40))(float32("x", 3, 62))


def test_the_sampler_gives_float32s_latents(kernel):
    sampling = PHOTOS.sampling("S2-base") | {"steps": 5, "batch_size": 3}
    labels = np.arange(3)
    expected, found = (
        Generator(
            randomized(build_model(tiny(PHOTOS.structure("S2-base"))), torch.float32, std=0.1),
            sampling | {"precision": name},
            1000,
            CPU,
        ).latents(labels, labels)
        for name in ("float32", "bfloat16x3")
    )
    assert 0 < (found - expected).abs().max() <= 1e-4 * expected.abs().max()


STUDIES = [(study, name) for study in (PHOTOS, IMAGENET200) for name in study.variants]


@pytest.mark.parametrize("study, variant", STUDIES, ids=lambda value: getattr(value, "name", value))
@torch.inference_mode()
def test_every_variant_gives_what_float32_gives(kernel, study, variant):
    model = randomized(build_model(tiny(study.structure(variant))), torch.float32, std=0.1)
    try:
        model = apply_operations(model, study.operations(variant)).eval()
    except InputError as error:
        pytest.skip(str(error))
    x = float32("latents", 2, 4, 8, 8)
    inputs = x, torch.tensor([900, 3]), torch.tensor([0, 2])
    rounds_inputs = any(each["name"].endswith("_dynamic") for each in study.operations(variant))
    expected = model(*inputs).output
    store_for(BFLOAT16X3, model)
    torch.compiler.reset()
    for program in (model, torch.compile(model, fullgraph=True)):
        difference = (program(*inputs).output - expected).abs().max() / expected.abs().max()
        assert difference <= (2e-2 if rounds_inputs else 1e-4)
    left = [name for name, layer in model.named_modules() if type(layer) is torch.nn.Linear]
    assert all(name.endswith(".gate") for name in left)


def test_a_device_that_cannot_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: True)
    monkeypatch.setattr(precision, "cxx_compiler", lambda: "/usr/bin/g++")
    assert chosen_precision("bfloat16x3", 384, CPU) == BFLOAT16X3
    for name, value, lack in (
        ("cxx_compiler", None, "needs a C[+][+] compiler"),
        ("multiplies_tiles", False, "needs a CPU that multiplies tiles of bfloat16 .AMX."),
    ):
        monkeypatch.setattr(precision, name, lambda value=value: value)
        with pytest.raises(InputError, match=f"speed.precision: bfloat16x3 {lack}.*; use float32"):
            chosen_precision("bfloat16x3", 384, CPU)
    with pytest.raises(InputError, match="is for CPUs, and these jobs run on cuda; use float32"):
        chosen_precision("bfloat16x3", 384, torch.device("cuda"))


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of compiled kernels, empty; loading is only noted, in a list."""
    loaded = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(split_products, "cxx_compiler", lambda: shutil.which("true"))
    monkeypatch.setattr(split_products.torch.ops, "load_library", loaded.append)
    return tmp_path / "slimdit", loaded


def test_a_kernel_is_compiled_once(monkeypatch, cache):
    folder, loaded = cache
    compiled = []

    def compile_to(compiler, library):
        compiled.append(library)
        library.touch()

    monkeypatch.setattr(split_products, "_compile", compile_to)
    for _ in range(2):
        split_products.load_kernel.__wrapped__()
    assert len(compiled) == 1 and compiled[0].parent == folder
    assert loaded == 2 * compiled
    monkeypatch.setattr(split_products, "FLAGS", ("-O2",))
    split_products.load_kernel.__wrapped__()
    assert len(set(compiled)) == 2


def test_a_kernel_that_cannot_be_compiled_is_told_in_one_sentence(monkeypatch, cache):
    folder, loaded = cache
    monkeypatch.setattr(split_products, "cxx_compiler", lambda: shutil.which("false"))
    with pytest.raises(InputError, match=f"compiled to {folder}.*let XDG_CACHE_HOME be"):
        split_products.load_kernel.__wrapped__()
    assert not loaded and not list(folder.glob("*.so"))
