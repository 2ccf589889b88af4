"""Products of float32 by three of bfloat16, against float64."""

import shutil

import pytest
import torch
from subjects import IMAGENET200, PHOTOS, random_tensor, randomized, tiny

from slimdit import kernels, precision, split_products
from slimdit.devices import cxx_compiler
from slimdit.errors import InputError
from slimdit.precision import BFLOAT16X3, chosen_precision, multiplies_tiles, store_for
from slimdit.split_products import COLUMNS, Halves, SplitLinear
from slimdit.variants import apply_operations, build_model

CPU = torch.device("cpu")
ERROR = 2**-15  # of a product, in parts of the sum of its terms' sizes

needs_compiler = pytest.mark.skipif(not cxx_compiler(), reason="needs a C++ compiler")
needs_tiles = pytest.mark.skipif(
    not (multiplies_tiles() and cxx_compiler()),
    reason="needs a CPU that multiplies tiles of bfloat16, and a C++ compiler",
)


def float32(what: str, *shape: int) -> torch.Tensor:
    return random_tensor(what, *shape, dtype=torch.float32)


@needs_compiler
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


@needs_tiles
@pytest.mark.parametrize("rows", [1, 16, 127, 129, 300])
@pytest.mark.parametrize("depth, width", [(2, 1), (64, 32), (514, 129), (1536, 384), (96, 300)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_are_those_of_float64(rows, depth, width, has_bias):
    linear = randomized(torch.nn.Linear(depth, width, bias=has_bias), torch.float32)
    x = float32("x", rows, depth)
    found = SplitLinear(linear)(x)
    expected = linear.double()(x.double())
    sizes = x.double().abs() @ linear.weight.abs().t()
    assert found.dtype == torch.float32
    assert ((found - expected).abs() <= ERROR * sizes + 1e-6).all()


@needs_tiles
def test_any_layout_and_any_number_of_dimensions_are_multiplied():
    linear = randomized(torch.nn.Linear(64, 40), torch.float32)
    split = SplitLinear(linear)
    x = float32("x", 3, 64, 5).transpose(1, 2)
    found = split(x)
    assert found.shape == (3, 5, 40)
    assert torch.equal(found, split(x.contiguous()))
    assert torch.equal(found[1, 2], split(x[1, 2][None])[0])


@needs_tiles
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_stays_none(value):
    linear = randomized(torch.nn.Linear(64, 40), torch.float32)
    x = float32("x", 5, 64)
    x[3, 7] = value
    found = SplitLinear(linear)(x)
    assert not found[3].isfinite().any()
    assert found[[0, 1, 2, 4]].isfinite().all()


@needs_tiles
def test_segments_are_multiplied_each_by_its_own_weight():
    x, weight = float32("x", 200, 64), float32("weight", 4, 64, 130)
    ends = torch.tensor([3, 3, 150, 200], dtype=torch.int32)
    found = kernels.grouped_matmul(x, Halves(weight), ends)
    with kernels.plain():
        expected = kernels.grouped_matmul(x.double(), weight.double(), ends)
    sizes = kernels.grouped_matmul(x.double().abs(), weight.double().abs(), ends)
    assert ((found - expected).abs() <= ERROR * sizes).all()


STUDIES = [(study, name) for study in (PHOTOS, IMAGENET200) for name in study.variants]


@needs_tiles
@pytest.mark.parametrize("study, variant", STUDIES, ids=lambda value: getattr(value, "name", value))
@torch.inference_mode()
def test_every_variant_gives_what_float32_gives(study, variant):
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
        with pytest.raises(InputError, match=f"^precision: bfloat16x3 {lack}.*; use float32"):
            chosen_precision("bfloat16x3", 384, CPU)
    with pytest.raises(InputError, match="is for CPUs, and these jobs run on cuda; use float32"):
        chosen_precision("bfloat16x3", 384, torch.device("cuda"))


@needs_compiler
def test_the_kernel_is_compiled_once_on_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(split_products.torch.ops, "load_library", lambda path: loaded.append(path))
    compiled, loaded = [], []

    def compile_to(library, *paths):
        compiled.append(library)
        shutil.copy(split_products.SOURCE, library)

    monkeypatch.setattr(split_products, "_compile", compile_to)
    for _ in range(2):
        split_products.load_kernel.__wrapped__()
    assert len(compiled) == 1
    assert loaded == 2 * compiled
