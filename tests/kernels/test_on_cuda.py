"""The kernels on CUDA give the masks of the CPU: on a GPU, and where there is none by Triton's interpreter.

Triton reads TRITON_INTERPRET when it is imported, so the interpreter runs the tests of this file in a process
of its own, on CPU tensors.
"""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from gpu import waits_raise
from torch import nn

from dropbench.kernels import compiled, mask, on_cuda
from dropbench.kernels.draws import Chance, Draw, chance_of
from dropbench.kernels.philox import fill_words, words_in_torch

CPU = torch.device("cpu")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = ["cpu"] if INTERPRETED else [pytest.param("cuda", marks=pytest.mark.cuda)]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton for this platform"
)

SIZES = (1, 7, 8, 9, 1023, 5003)
CHANCES = {p: chance_of(p) for p in (1e-6, 0.1, 0.5, 0.9)}
DRAWS = (
    Draw(0, 0, 0),
    Draw(0x0123456789ABCDEF, 41, 2),
    Draw(1 << 63 | 7, (1 << 32) - 1, 3, part=2),
    Draw((1 << 64) - 1, 1 << 31, (1 << 31) + 5, part=1),
)


BASES = (0, 7, (1 << 31) - 1, (1 << 32) - 1, (1 << 33) + 5)


@pytest.fixture(params=DEVICES)
def device(request) -> torch.device:
    device = torch.device(request.param)
    on_cuda.words(1, DRAWS[0], device)  # raises the error of a Triton that does not work
    assert on_cuda.usable()
    return device


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal up to the sign of 0; the interpreter cuts bfloat16 off where torch and a GPU round."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    ours = ours.cpu()
    assert torch.equal(ours == 0, theirs == 0)
    assert torch.equal(ours.isnan(), theirs.isnan())
    if INTERPRETED and ours.dtype == torch.bfloat16:
        off = ours.view(torch.int16).int() - theirs.view(torch.int16).int()
        assert set(off[theirs != 0].tolist()) <= {0, -1}
    else:
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())


@pytest.mark.parametrize("draw", DRAWS)
def test_words(device, draw):
    for count in SIZES:
        ours = on_cuda.words(count, draw, device)
        assert torch.equal(ours.cpu(), words_in_torch(count, draw, CPU))


def test_a_base_on_the_device_is_added_to_the_number(device):
    """At each launch anew, and modulo 2³², in the forward and the backward pass."""
    held = torch.zeros((), dtype=torch.int64, device=device)
    chance, units = CHANCES[0.5], torch.ones(1023)
    for draw, base in itertools.product(DRAWS, BASES):
        moving, moved = replace(draw, base=held), replace(draw, number=draw.number + base)
        held.fill_(base)
        words = on_cuda.words(1023, moving, device)
        assert torch.equal(words.cpu(), words_in_torch(1023, moved, CPU))
        leaf = units.clone().to(device).requires_grad_()
        dropped = on_cuda.drop(leaf, chance, 2.0, moving)
        dropped.sum().backward()
        assert_same(dropped.detach(), mask.drop_in_torch(units, chance, 2.0, moved))
        assert torch.equal(leaf.grad, dropped)
        assert torch.equal(on_cuda.relu_drop(units.to(device), chance, 2.0, moving), dropped)


@pytest.mark.parametrize("chance", CHANCES.values(), ids=CHANCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dropped_units_and_their_gradient(device, dtype, chance):
    for count, draw in zip(SIZES, itertools.cycle(DRAWS), strict=False):
        units = normal(count, dtype=dtype)
        leaf = units.clone().to(device).requires_grad_()
        dropped = on_cuda.drop(leaf, chance, 1.37, draw)
        assert_same(dropped.detach(), mask.drop_in_torch(units, chance, 1.37, draw))
        gradient = normal(count + 1, dtype=dtype)[1:]
        dropped.backward(gradient.to(device))
        assert_same(leaf.grad, mask.drop_in_torch(gradient, chance, 1.37, draw))


def test_other_levels_decide_at_their_edge(device):
    """A level is the first number that is kept, also where it has the sign bit of an int32."""
    draw = DRAWS[1]
    numbers = words_in_torch(1024, draw, CPU).long() & 0xFFFFFFFF
    edges = [numbers[number].item() for number in (3, numbers.argmax(), numbers.argmin())]
    for level in edges:
        for levels in (level, level + 1):
            dropped = on_cuda.drop(torch.ones(1024, device=device), Chance(levels, 32), 1.0, draw)
            assert torch.equal(dropped.cpu() == 0, numbers < levels)


def test_infinite_units_and_no_units(device):
    chance, draw = CHANCES[0.5], DRAWS[1]
    units = torch.tensor([torch.inf, -torch.inf, torch.nan]).repeat(50)
    assert_same(
        on_cuda.drop(units.to(device), chance, 2.0, draw), mask.drop_in_torch(units, chance, 2.0, draw)
    )
    assert on_cuda.drop(torch.ones(0, 5, device=device), chance, 2.0, draw).shape == (0, 5)
    assert on_cuda.words(0, draw, device).shape == (0,)


def test_maps_keep_their_format_whatever_that_of_the_gradient(device):
    chance, draw = CHANCES[0.1], DRAWS[1]
    maps = normal(4, 6, 5, 3).to(memory_format=torch.channels_last)
    expected = mask.drop_in_torch(torch.ones_like(maps), chance, 1.5, draw)
    for gradient in (torch.ones(4, 6, 5, 3), torch.ones(1, 1, 1, 1).expand(4, 6, 5, 3)):
        leaf = maps.clone().to(device).requires_grad_()
        dropped = on_cuda.drop(leaf, chance, 1.5, draw)
        assert dropped.is_contiguous(memory_format=torch.channels_last)
        assert_same(dropped, mask.drop_in_torch(maps, chance, 1.5, draw))
        dropped.backward(gradient.to(device))
        assert_same(leaf.grad, expected)


@pytest.mark.parametrize("chance", [None, *CHANCES.values()], ids=["none", *CHANCES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_and_dropout_in_one_pass(device, dtype, chance):
    draw = None if chance is None else DRAWS[2]
    for shape in ((7,), (5003,), (2, 5, 4, 3)):
        units = normal(*shape, dtype=dtype)
        units.view(-1)[:3] = 0.0
        if units.ndim == 4:
            units = units.to(memory_format=torch.channels_last)
        leaf, ours = units.clone().requires_grad_(), units.to(device).requires_grad_()
        activations = torch.relu(leaf)
        if chance is None:
            expected = activations * 1.25
        else:
            expected = mask.drop_in_torch(activations, chance, 1.25, draw)
        dropped = on_cuda.relu_drop(ours, chance, 1.25, draw)
        assert_same(dropped.detach(), expected.detach())
        gradient = normal(*shape, dtype=dtype)
        expected.backward(gradient)
        dropped.backward(gradient.to(device))
        assert_same(ours.grad, leaf.grad)


def test_relu_passes_what_is_not_a_number(device):
    units = torch.tensor([torch.nan, -torch.nan, torch.inf, -torch.inf, -1.0], device=device).requires_grad_()
    out = on_cuda.relu_drop(units, None, 2.0, None)
    assert_same(out.detach(), torch.tensor([torch.nan, torch.nan, torch.inf, 0.0, 0.0]))
    out.backward(torch.ones_like(out))
    assert units.grad.tolist() == [2.0, 2.0, 2.0, 0.0, 0.0]


def test_they_take_plain_tensors_of_three_dtypes_while_kernels_are_allowed(device):
    units = torch.ones(3, device=device)
    assert on_cuda.takes(units)
    assert on_cuda.takes(nn.Parameter(units.bfloat16()))
    assert not on_cuda.takes(units.double())
    assert not on_cuda.takes(units.as_subclass(type("Own", (torch.Tensor,), {})))
    with compiled.switched_off():
        assert not on_cuda.usable()
        assert not on_cuda.takes(units)


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
@needs_triton
def test_the_interpreter_gives_the_masks_of_the_cpu():
    command = [sys.executable, "-m", "pytest", __file__, "-n0", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 20, done.stdout


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@needs_triton
def test_the_kernels_compile_without_a_gpu(tmp_path):
    """The interpreter takes much that Triton's compiler does not."""
    code = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dropbench.kernels import in_triton

draw = dict.fromkeys(("low", "high", "part", "number", "site"), "i32")
moving = {**draw, "base": "*i64"}

def compile(function, constants, **types):
    signature = {name: types.get(name, "constexpr") for name in function.arg_names}
    constants = {name: constants.get(name) for name, of in signature.items() if of == "constexpr"}
    source = ASTSource(function, signature, {(function.arg_names.index(n),): v for n, v in constants.items()})
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]

for drawn in (draw, moving):
    compile(in_triton.fill, {"BLOCKS": 256}, out="*i32", count="i32", **drawn)
for dtype in ("*fp32", "*bf16", "*fp16"):
    numbers = {"count": "i64", "scale": "fp32"}
    for bits, relu, drawn in ((16, False, draw), (32, False, moving), (32, True, moving), (0, True, draw)):
        constants = {"BITS": bits, "RELU": relu, "UNITS": 1024}
        compile(in_triton.drop, constants, units=dtype, dropped=dtype, levels="i32", **numbers, **drawn)
    pointers = dict.fromkeys(("gradient", "activations", "to_units"), dtype)
    compile(in_triton.pass_back, {"UNITS": 1024}, **pointers, **numbers)
"""
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}, check=True
    )


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@needs_triton
def test_no_other_step_key_site_or_p_makes_triton_compile_again():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

    from dropbench.kernels import in_triton

    kernel, units = in_triton.drop, torch.empty(64)
    specialised = create_function_from_signature(
        kernel.signature, kernel.params, make_backend(GPUTarget("cuda", 80, 32))
    )
    small, aligned = Draw(1, 1, 1, part=1), Draw(1 << 36 | 16, 16, 16, part=16)
    bases = torch.zeros(2, dtype=torch.int64)

    def found(*bases: torch.Tensor | None) -> set[str]:
        return {
            str(specialised(units, units, 4096, on_cuda._signed(levels), scale, *drawn, 32, False, 1024)[1])
            for draw, base in itertools.product((*DRAWS, small, aligned), bases)
            for drawn in [on_cuda._arguments(replace(draw, base=base))]
            for levels in (1, 16, 6554, (1 << 32) - 1)
            for scale in (1.0, 2.0, 1 / 0.9)
        }

    assert len(found(None)) == 1
    assert len(found(*bases)) == 1
    assert found(None) != found(*bases)


def test_where_triton_does_not_work_it_is_said_and_torchs_operations_are_used(monkeypatch, told):
    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(on_cuda, "words", fail)
    on_cuda._triton_works.cache_clear()
    assert [on_cuda.usable(), on_cuda.usable()] == [False, False]
    on_cuda._triton_works.cache_clear()
    assert told == [
        "Triton does not work here (Failed to find C compiler.); torch's own operations draw the masks."
    ]


@pytest.mark.cuda
def test_dropout_on_cuda_does_not_wait_for_the_device():
    units = torch.ones(64, 512, device="cuda").requires_grad_()
    mask.drop(units, CHANCES[0.5], 2.0, DRAWS[0]).sum().backward()  # compiles
    with waits_raise():
        for draw, chance in itertools.product(DRAWS, CHANCES.values()):
            mask.drop(units, chance, 2.0, draw).sum().backward()


@pytest.mark.cuda
def test_more_units_than_int32_can_count():
    count, last = (1 << 31) + 4096, 1024
    if torch.cuda.mem_get_info()[0] < 5 * count:
        pytest.skip("the GPU has too little free memory")
    dropped = on_cuda.drop(
        torch.ones(count, dtype=torch.bfloat16, device="cuda"), CHANCES[0.5], 2.0, DRAWS[1]
    )
    words = np.empty(last // 2, np.uint32)
    fill_words(words, (count - last) // 8, last // 8, *DRAWS[1].counter)
    kept = torch.from_numpy(words.view(np.uint16).astype(np.int64)) >= CHANCES[0.5].levels
    assert torch.equal(dropped[-last:].cpu() != 0, kept)
