"""Loss scaling gives the steps of torch.amp.GradScaler, and a step that overflowed leaves nothing behind."""

import itertools
import math

import pytest
import torch
from engine.made import REGRESSION, made
from engine.test_optimizers import Net, by_dimensions, gradients, nets
from torch import nn

from dropbench.catalog.optimizers import SGD as OWN
from dropbench.engine import loss_scale
from dropbench.engine.device import resolve_precision
from dropbench.engine.halving import halves_inputs, halves_weights
from dropbench.engine.loss_scale import LossScale
from dropbench.engine.optim import SGD, Optimizer
from dropbench.engine.run import Run
from dropbench.engine.stack import stacks
from dropbench.engine.torch_optimizers import TorchOptimizer
from dropbench.engine.train import train
from dropbench.results.rows import run_row
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
MLP = {"model": "mlp", "layers": (16,), "p_drop": 0.2, "batch_size": 32, "epochs": 4, "precision": "fp16"}
CNN = {"model": "paper-cnn", "width": 0.04, "p_drop": 0.2, "batch_size": 48, "epochs": 3}
BOUND = 0.25


def optimizer_for(net: nn.Module, name: str, **fields: object) -> Optimizer:
    fields = {"loss_scale": LossScale(CPU), **fields}
    if name == OWN:
        return SGD(net, 0.9, 0.01, **fields)
    return TorchOptimizer(net, name, {}, 0.01 if name != "torch.optim:Rprop" else 0.0, **fields)


def step(net: nn.Module, optimizer: Optimizer, number: int, overflows: bool = False) -> None:
    """A step whose gradients are scaled by hand; of one that overflows a single one is not finite."""
    optimizer.zero_grad()
    gradients(net, number)
    for parameter in net.parameters():
        parameter.grad *= optimizer.loss_scale.scale
    if overflows:
        net.inner.weight.grad[1, 2] = math.inf if number % 2 else math.nan
    with optimizer.updating(0.01):
        optimizer.step(0.01)


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


# The steps


@pytest.mark.parametrize(
    ("name", "first"),
    [
        *itertools.product((OWN, "adamw", "muon", "torch.optim:SGD", "torch.optim:RMSprop"), (True, False)),
        ("torch.optim:NAdam", False),  # which would count an overflow in its first step
        ("torch.optim:Adafactor", False),
    ],
)
def test_a_step_that_overflowed_is_as_if_it_had_not_been(name, first):
    """Nor do the good steps that follow differ, so that neither moments nor their counts have changed."""
    ours, plain = nets()
    for net in (ours, plain):
        net.norm.eval()  # its statistics move on in every forward pass
    bounds = {"max_norm": 0.5, "largest_norm": BOUND}
    mine = optimizer_for(ours, name, clipped=ours.parameters(), **bounds)
    others = optimizer_for(plain, name, clipped=plain.parameters(), **bounds)
    for number in range(0 if first else 1):
        step(ours, mine, number)
        step(plain, others, number)
    for number in (3, 4):
        before = weights(ours)
        step(ours, mine, number, overflows=True)
        assert_same(weights(ours), before)
    for number in (1, 2):
        step(ours, mine, number)
        step(plain, others, number)
    assert_same(weights(ours), weights(plain))
    assert (mine.loss_scale.overflows.item(), others.loss_scale.overflows.item()) == (2, 0)
    assert mine.loss_scale.scale.item() == others.loss_scale.scale.item() / 4


def of_torch(net: Net, name: str) -> list[torch.optim.Optimizer]:
    """Optimizers of torch that together make the steps of dropbench's, without weight decay on biases."""
    if name == OWN:
        weights, rest = by_dimensions(net)
        groups = [{"params": weights, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        return [torch.optim.SGD(groups, lr=0.01, momentum=0.9)]
    if name == "adamw":
        weights, rest = by_dimensions(net)
        groups = [{"params": weights, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, lr=0.01)]
    muon = torch.optim.Muon([net.inner.weight], lr=0.01, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    own = [net.word.weight, net.output.weight]
    rest = by_dimensions(net)[1]
    groups = [{"params": own, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    return [muon, torch.optim.AdamW(groups, lr=0.01)]


@pytest.mark.parametrize("name", [OWN, "adamw", "muon"])
def test_steps_are_those_of_gradscaler(name, monkeypatch):
    """Unscaled, then clipped, in overflows and growth: by autocast, from a scale that is too large."""
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**32)
    monkeypatch.setattr(loss_scale, "GOOD_STEPS", 3)
    ours, theirs = nets()
    for net in (ours, theirs):
        net.maps.weight.requires_grad_(name != "muon")  # a kernel is no matrix for torch's
    mine = optimizer_for(ours, name, clipped=ours.parameters(), largest_norm=BOUND)
    optimizers = of_torch(theirs, name)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**32, growth_interval=3)
    scales = []
    for number in range(30):
        losses = []
        for net in (ours, theirs):
            images = torch.randn(9, 3, 7, 7, generator=torch.Generator().manual_seed(number))
            with torch.autocast("cpu", torch.float16):
                losses.append(net(images).float().square().mean())
        mine.zero_grad()
        mine.loss_scale.scaled(losses[0]).backward()
        mine.step(0.01)
        theirs.zero_grad()
        scaler.scale(losses[1]).backward()
        for each in optimizers:
            scaler.unscale_(each)
        # It decides for each optimizer, while a step of dropbench is skipped as a whole.
        finite = all(each.grad.isfinite().all() for each in theirs.parameters() if each.grad is not None)
        nn.utils.clip_grad_norm_(theirs.parameters(), BOUND)
        for each in optimizers if finite else ():
            scaler.step(each)
        scaler.update()
        scales.append(mine.loss_scale.scale.item())
        assert scales[-1] == scaler.get_scale()
    changes = [after / before for before, after in itertools.pairwise(scales)]
    assert {0.5, 1.0, 2.0} == set(changes)
    for (key, value), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(
            value, other, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )


class Own(nn.Module):
    """A net with batch norm."""

    def __init__(self, shape, classes, config):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.BatchNorm1d(8), nn.ReLU()
        )
        self.drop, self.output = nn.Dropout(), nn.Linear(8, classes)

    def forward(self, images):
        return self.output(self.drop(self.layers(images)))


class Enlarged(Own):
    """A net whose logits exceed float16 at test."""

    def forward(self, images):
        return super().forward(images) * (1 if self.training else 1e6)


OWN_NET = {"model": "engine.test_loss_scale:Own", "p_drop": 0.5, "batch_size": 32, "precision": "fp16"}


def test_a_skipped_step_moves_on_what_the_forward_pass_changes(blobs, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**100)
    run = Run.prepare(RunConfig(**OWN_NET), blobs, CPU)
    run.model.train()
    before, positions = run.weights(), [stream.position for stream in run.step.streams]
    loss, _ = run.step(torch.arange(32), 0.01)
    after = run.weights()
    assert math.isfinite(loss)  # which is not scaled
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == {
        name for name in before if "running" in name or "tracked" in name
    }
    assert [stream.position for stream in run.step.streams] != positions


# Whole runs


@pytest.mark.parametrize("fields", [MLP, CNN], ids=["mlp", "paper-cnn"])
def test_a_run_ends_like_one_in_fp32(fields, blobs):
    scaled, plain = (train(RunConfig(**fields | {"precision": each}), blobs) for each in ("fp16", "fp32"))
    assert scaled.epochs[-1].val_loss == pytest.approx(plain.epochs[-1].val_loss, rel=0.05, abs=0.01)
    assert scaled.epochs[-1].val_loss < 0.8 * math.log(3)
    assert run_row(scaled, "")["precision"] == "fp16"
    assert 0 <= run_row(scaled, "")["overflowed_steps"] < 5
    assert run_row(plain, "")["overflowed_steps"] is None


def test_overflows_are_counted_until_the_scale_fits(blobs, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**32)
    made_scales = []
    init = LossScale.__init__
    monkeypatch.setattr(
        LossScale, "__init__", lambda scale, device: (init(scale, device), made_scales.append(scale))[0]
    )
    result = train(RunConfig(**MLP), blobs)
    (scale,) = made_scales
    overflows = result.cost["overflowed_steps"]
    assert 8 < overflows < result.cost["steps"] == 28
    assert scale.scale.item() == 2.0**32 / 2**overflows
    assert result.status == "ok"
    assert result.epochs[-1].val_loss < result.epochs[0].val_loss


def test_logits_beyond_float16_are_no_figures(blobs):
    settings = RunConfig(**OWN_NET | {"model": "engine.test_loss_scale:Enlarged"}, epochs=1)
    result = train(settings, blobs)
    assert (result.status, result.metrics, result.predictions) == ("diverged", {}, {})
    assert "fp16" in result.message
    assert train(settings.replace(precision="fp32"), blobs).status == "ok"


def test_a_regression_is_learnt_as_in_fp32():
    fields = REGRESSION | {"epochs": 10, "learning_rate": 0.02}
    scaled, plain = (train(RunConfig(**fields | {"precision": each}), made()) for each in ("fp16", "fp32"))
    assert scaled.metrics["test_rmse"] == pytest.approx(plain.metrics["test_rmse"], rel=0.02)


# What is chosen


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "fp32")],
)
def test_auto_is_fp16_where_there_are_tensor_cores_without_bf16(capability, precision, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    gpu = torch.device("cuda", 0)
    assert resolve_precision("auto", gpu) == precision
    assert resolve_precision("auto", gpu, "regression") == "fp32"
    assert resolve_precision("fp16", gpu) == resolve_precision("fp16", CPU) == "fp16"


def test_runs_in_fp16_hold_float32_weights_and_do_not_stack():
    scaled, half = (RunConfig(**MLP | {"precision": each}) for each in ("fp16", "bf16"))
    assert (stacks(scaled), halves_weights(scaled), halves_inputs(scaled)) == (False, False, False)
    assert stacks(half)
    assert scaled.run_id != half.run_id
