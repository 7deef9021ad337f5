"""Dropout of several runs at once gives each run what it gets alone."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dropbench.engine.optim import SGD
from dropbench.kernels import compiled, mask, stacked, stacked_sgd
from dropbench.kernels.draws import NEVER, Draw, chance_of
from dropbench.kernels.stacked import Drops
from dropbench.kernels.stacked_sgd import Settings

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton for this platform"
)
CUDA = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
DEVICES = ["cpu"] if INTERPRETED else ["cpu", pytest.param("cuda", marks=CUDA)]
SITE = 2
CHANCES = [chance_of(0.5), chance_of(1e-6), NEVER, chance_of(0.9)]
SCALES = [2.0, 1.0, 1.0, 1.37]
KEYS = [0, 0x0123456789ABCDEF, 7, (1 << 64) - 1]
FIRST = [0, 41, 3, (1 << 32) - 2]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch) -> torch.device:
    if INTERPRETED:  # on CPU tensors
        monkeypatch.setattr(stacked_sgd, "_triton_takes", lambda master: True)
        monkeypatch.setattr(stacked, "_triton_takes", lambda units: True)
        monkeypatch.setattr(compiled, "takes", lambda units: False)
    return torch.device(request.param)


@pytest.fixture(params=["kernels"] if INTERPRETED else ["kernels", "torch"])
def with_kernels(request):
    if request.param == "kernels":
        yield
    else:
        with compiled.switched_off():
            yield


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def drops_on(device: torch.device) -> Drops:
    drops = Drops.make(len(KEYS), SITE, torch.zeros(1, dtype=torch.int64, device=device))
    draws = [Draw(key, first, SITE) for key, first in zip(KEYS, FIRST, strict=True)]
    drops.set(list(zip(CHANCES, SCALES, draws, strict=True)))
    return drops


def alone(units: torch.Tensor, run: int, step: int) -> torch.Tensor:
    draw = Draw(KEYS[run], FIRST[run] + step, SITE)
    return mask.drop_in_torch(units, CHANCES[run], SCALES[run], draw)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal; the interpreter cuts bfloat16 off where torch and a GPU round."""
    ours = ours.cpu()
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours == 0, theirs == 0)
    if INTERPRETED and ours.dtype == torch.bfloat16:
        torch.testing.assert_close(ours, theirs, rtol=2**-7, atol=0, equal_nan=True)
    else:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (3, 1025)])
def test_a_run_gets_the_mask_that_it_gets_alone_at_every_step(device, dtype, shape):
    drops, units = drops_on(device), normal(len(KEYS), *shape, dtype=dtype)
    for step in range(3):  # the last run's number passes 2³² on its way
        ours = stacked.drop(units.to(device), drops)
        for run in range(len(KEYS)):
            assert_same(ours[run], alone(units[run], run, step))
        drops.place.add_(1)


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_and_its_gradient(device, dtype):
    drops = drops_on(device)
    drops.place.add_(1)
    pre_activations = normal(len(KEYS), 5, 300, dtype=dtype)
    pre_activations[:, 0, :4] = torch.tensor([0.0, torch.nan, torch.inf, -torch.inf])
    ours = pre_activations.clone().to(device).requires_grad_()
    dropped = stacked.relu_drop(ours, drops)
    gradient = normal(len(KEYS), 5, 300, dtype=dtype)
    dropped.backward(gradient.to(device))
    for run in range(len(KEYS)):
        leaf = pre_activations[run].clone().requires_grad_()
        expected = alone(torch.relu(leaf), run, 1)
        expected.backward(gradient[run])
        assert_same(dropped[run].detach(), expected.detach())
        assert_same(ours.grad[run], leaf.grad)


@needs_triton
def test_the_way_back_is_that_of_the_way_there_whatever_thread_it_is_in(monkeypatch):
    """As on CUDA, where the context that switches kernels off is not that of the thread that goes back."""
    monkeypatch.setattr(stacked, "_triton_takes", lambda units: compiled.allowed())
    pre_activations = normal(len(KEYS), 5, 7).requires_grad_()
    with compiled.switched_off():
        dropped = stacked.relu_drop(pre_activations, drops_on(torch.device("cpu")))
    dropped.sum().backward()
    assert torch.equal(pre_activations.grad != 0, dropped > 0)


@pytest.mark.usefixtures("with_kernels")
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("columns", [5, 130])
def test_a_step_of_sgd_is_that_of_each_run(device, half, columns):
    """With and without momentum, weight decay and max-norm; what is not finite stays in its run."""
    numbers = torch.tensor(
        [[0.1, 0.9, 0.0, torch.inf], [0.3, 0.0, 0.1, 1.0], [0.2, 0.5, 0.01, 3.0], [0.1, 0.9, 0.0, 2.0]]
    )
    rates, *settings = numbers.T.reshape(4, 4, 1, 1).contiguous().to(device)
    for is_weight, rows in ((True, 3), (False, 1)):
        start = normal(4, rows, columns)
        start[3] = torch.nan
        master = start.clone().to(device)
        used = master.bfloat16() if half else master
        velocity = torch.zeros_like(master)
        layers = [torch.nn.Linear(columns, rows, bias=False) for _ in range(4)]
        for run, layer in enumerate(layers):
            layer.weight.data.copy_(start[run])
            if not is_weight:
                numbers[run, 2:] = torch.tensor([0.0, torch.inf])
        alone = [SGD(layer, *numbers[run, 1:].tolist()) for run, layer in enumerate(layers)]
        for step in range(3):
            gradient = normal(4, rows, columns).mul(step + 1).to(used.dtype)
            stacked_sgd.sgd_step_of_runs(
                used, master, velocity, gradient.to(device), rates, Settings(*settings), is_weight
            )
            for run, layer in enumerate(layers):
                layer.weight.grad = gradient[run].float()
                alone[run].step(numbers[run, 0].item())
        for run, layer in enumerate(layers):
            torch.testing.assert_close(master[run].cpu(), layer.weight.detach(), equal_nan=True)
        torch.testing.assert_close(used.float(), master, rtol=2**-7 if half else 0, atol=0, equal_nan=True)


def test_triton_takes_no_rows_that_its_registers_do_not_hold(monkeypatch):
    monkeypatch.setattr("dropbench.kernels.on_cuda.takes", lambda master: True)
    with FakeTensorMode():  # tensors without values, on a device that need not be there
        rows = [torch.empty(1, 1, number, device="cuda") for number in (5, 8192, 8193)]
    assert [stacked_sgd._triton_takes(row) for row in rows] == [True, True, False]


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
@needs_triton
def test_the_interpreter_gives_the_masks_of_the_cpu():
    command = [sys.executable, "-m", "pytest", __file__, "-n0", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= 8, done.stdout


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@needs_triton
def test_the_kernels_compile_without_a_gpu(tmp_path):
    code = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dropbench.kernels import in_triton
from dropbench.kernels.stacked_sgd import MOST_COLUMNS, warps_for

def compile(function, constants, warps=4, **types):
    signature = {name: types.get(name, "constexpr") for name in function.arg_names}
    source = ASTSource(function, signature, {(function.arg_names.index(n),): v for n, v in constants.items()})
    target, options = GPUTarget("cuda", 80, 32), {"num_warps": warps}
    assert triton.compile(source, target=target, options=options).asm["cubin"]

tables = dict.fromkeys(("levels", "bits", "low", "high", "first", "place"), "*i64")
for dtype in ("*fp32", "*bf16"):
    more = {"count": "i32", "scales": "*fp32"}
    for relu in (False, True):
        constants = {"RELU": relu, "UNITS": 1024}
        compile(in_triton.drop_of_runs, constants, units=dtype, dropped=dtype, site="i32", **tables, **more)
    pointers = dict.fromkeys(("gradient", "activations", "to_units"), dtype)
    compile(in_triton.pass_back_of_runs, {"UNITS": 1024}, **pointers, **more)
    for is_weight in (False, True):
        constants = {"IS_WEIGHT": is_weight, "IS_ROUNDED": dtype == "*bf16", "COLUMNS": MOST_COLUMNS}
        names = ("masters", "velocities", "rates", "momenta", "weight_decays", "bounds")
        numbers = {**dict.fromkeys(names, "*fp32"), "rows": "i32", "columns": "i32"}
        types = {"used": dtype, "gradients": dtype, **numbers}
        compile(in_triton.sgd_of_runs, constants, warps_for(MOST_COLUMNS), **types)
"""
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}, check=True
    )
