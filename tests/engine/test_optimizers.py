"""The optimizers of torch make torch's own steps; labels are smoothed and gradients clipped as defined."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine.made import REGRESSION, made
from torch import nn

from dropbench.catalog.models import RECIPES
from dropbench.catalog.optimizers import MUON, class_of, options_of
from dropbench.engine.halving import halves_inputs, halves_weights
from dropbench.engine.need import need_of
from dropbench.engine.optim import SGD
from dropbench.engine.run import Run
from dropbench.engine.stack import stacks
from dropbench.engine.tasks import Classify
from dropbench.engine.torch_optimizers import TorchOptimizer
from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
OTHERS = ["Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop"]
OTHERS = [f"torch.optim:{name}" for name in [*OTHERS, "SGD"]]
MLP = {"model": "mlp", "layers": (16, 12), "p_drop": 0.5, "epochs": 2, "precision": "fp32"}


class Net(nn.Module):
    """A net with a layer of every kind that optimizers treat in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(5, 6)
        self.maps = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Linear(8, 6)
        self.output = nn.Linear(6, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        units = self.norm(self.maps(images)).relu().mean(dim=(2, 3))
        return self.output(self.inner(units).relu() + self.word.weight.mean(dim=0))


def nets(count: int = 2) -> list[Net]:
    """Nets with the same weights, in the memory format of runs."""
    torch.manual_seed(0)
    made = [Net().to(memory_format=torch.channels_last) for _ in range(count)]
    for net in made[1:]:
        net.load_state_dict(made[0].state_dict())
    return made


def gradients(net: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    net(torch.randn(9, 3, 7, 7, generator=generator)).square().sum().backward()


def steps(net: nn.Module, optimizer: TorchOptimizer | SGD, rates=(0.01, 0.003, 0.02)) -> None:
    for number, rate in enumerate(rates):
        optimizer.zero_grad()
        gradients(net, number)
        optimizer.step(rate)


def of_torch(net: nn.Module, groups: list[tuple[type, list[nn.Parameter], dict]], rates=(0.01, 0.003, 0.02)):
    optimizers = [kind(parameters, lr=1.0, **more) for kind, parameters, more in groups]
    for number, rate in enumerate(rates):
        net.zero_grad()
        gradients(net, number)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()


def assert_same_weights(one: nn.Module, other: nn.Module, **tolerance: float) -> None:
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def by_dimensions(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    everything = list(net.parameters())
    return [each for each in everything if each.ndim > 1], [each for each in everything if each.ndim < 2]


@pytest.mark.parametrize("name", ["adamw", *OTHERS])
def test_steps_are_those_of_torch_with_decay_on_weights_alone(name):
    ours, theirs = nets()
    kind, decay = class_of(name), 0.0 if name == "torch.optim:Rprop" else 0.1  # which has none
    weights, rest = by_dimensions(theirs)
    decays = {"weight_decay": decay} if decay else {}
    of_torch(theirs, [(kind, weights, decays), (kind, rest, dict.fromkeys(decays, 0.0))])
    steps(ours, TorchOptimizer(ours, name, {}, weight_decay=decay))
    assert_same_weights(ours, theirs, rtol=1e-4, atol=1e-5)


def test_options_change_the_steps_as_in_torch():
    ours, theirs = nets()
    options = options_of("adamw", "amsgrad=true,betas=(0.5,0.6),eps=0.1")
    groups = [(torch.optim.AdamW, part, {"weight_decay": 0.0, **options}) for part in by_dimensions(theirs)]
    of_torch(theirs, groups)
    steps(ours, TorchOptimizer(ours, "adamw", options, weight_decay=0.0))
    assert_same_weights(ours, theirs, rtol=1e-4, atol=1e-5)
    plain = nets(1)[0]
    steps(plain, TorchOptimizer(plain, "adamw", {}, weight_decay=0.0))
    assert not torch.allclose(plain.inner.weight, ours.inner.weight, atol=1e-4)


def test_muon_is_for_inner_matrices_and_kernels_and_adamw_for_the_rest():
    """A kernel is the matrix of its rows: torch's Muon on flat copies of it makes the same steps."""
    ours, theirs = nets()
    steps(ours, TorchOptimizer(ours, MUON, {"momentum": 0.9}, weight_decay=0.1))
    flat = nn.Parameter(theirs.maps.weight.detach().flatten(1).clone())
    how = {"weight_decay": 0.1, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}
    muon = torch.optim.Muon([flat, theirs.inner.weight], lr=1.0, **how)
    weights = [theirs.word.weight, theirs.output.weight]
    rest = by_dimensions(theirs)[1]
    adamw = torch.optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0}])
    for number, rate in enumerate((0.01, 0.003, 0.02)):
        theirs.zero_grad()
        gradients(theirs, number)
        flat.grad = theirs.maps.weight.grad.flatten(1)
        for group in (*muon.param_groups, *adamw.param_groups):
            group["lr"] = rate
        muon.step()
        adamw.step()
        with torch.no_grad():
            theirs.maps.weight.copy_(flat.view_as(theirs.maps.weight))
    assert_same_weights(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_decay_is_decoupled_and_spares_biases(name):
    """Without a gradient's share a weight is multiplied by 1 − rate × decay at each step."""
    net = nets(1)[0]
    before = {key: value.clone() for key, value in net.named_parameters()}
    optimizer = TorchOptimizer(net, name, {}, weight_decay=0.5)
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step(0.1)
    for key, value in net.named_parameters():
        torch.testing.assert_close(value, before[key] * (0.95**2 if value.ndim > 1 else 1.0))


@pytest.mark.parametrize(
    "optimizer", [partial(SGD, momentum=0.9), partial(TorchOptimizer, name="adamw", options={})]
)
def test_max_norm_of_computed_weights_is_refused(optimizer):
    net = Net()
    nn.utils.parametrizations.weight_norm(net.inner)
    optimizer(net, weight_decay=0.0)
    with pytest.raises(UsageError, match=r"weights of a .*Linear are computed"):
        optimizer(net, weight_decay=0.0, max_norm=1.0)


@pytest.mark.parametrize("name", ["adamw", "muon", "torch.optim:RMSprop"])
def test_max_norm_bounds_the_weights_of_layers(name):
    net = nets(1)[0]
    steps(net, TorchOptimizer(net, name, {}, weight_decay=0.0, max_norm=0.3))
    for layer in (net.maps, net.inner, net.output):
        norms = layer.weight.flatten(1).norm(dim=1)
        assert norms.max() <= 0.3 + 1e-5
    assert net.word.weight.norm(dim=1).max() > 0.3


def test_a_parameter_without_a_gradient_is_left_alone():
    for name in ("adamw", "muon", "torch.optim:NAdam"):
        net = nets(1)[0]
        net.inner.weight.requires_grad_(False)
        before = net.inner.weight.clone()
        steps(net, TorchOptimizer(net, name, {}, weight_decay=0.1))
        assert torch.equal(net.inner.weight, before)


# The L1 penalty


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon", "torch.optim:RMSprop"])
def test_an_l1_penalty_is_as_if_the_absolute_weights_were_added_to_the_loss(name):
    def optimizer(net: nn.Module, l1: float) -> SGD | TorchOptimizer:
        return SGD(net, 0.9, 0.1, l1=l1) if name == "sgd" else TorchOptimizer(net, name, {}, 0.1, l1=l1)

    ours, theirs, plain = nets(3)
    steps(ours, optimizer(ours, 0.5))
    steps(plain, optimizer(plain, 0.0))
    of_loss = optimizer(theirs, 0.0)
    for number, rate in enumerate((0.01, 0.003, 0.02)):
        of_loss.zero_grad()
        (0.5 * sum(weight.abs().sum() for weight in by_dimensions(theirs)[0])).backward()
        gradients(theirs, number)
        of_loss.step(rate)
    assert_same_weights(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours.inner.weight, plain.inner.weight, atol=1e-4)


def test_an_l1_penalty_is_the_same_where_weights_are_held_in_bfloat16():
    """Without a gradient's share and momentum, a step takes rate × l1 from the size of each master."""
    net = nets(1)[0]
    optimizer = SGD(net, 0.0, 0.0, half=True, l1=0.5)
    before = optimizer.snapshot(net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.001)
    after = optimizer.snapshot(net)
    for name, parameter in net.named_parameters():
        pull = 0.0005 * before[name].sign() if parameter.ndim > 1 else 0.0
        torch.testing.assert_close(after[name], before[name] - pull, rtol=0, atol=1e-6)


def test_clipping_has_no_share_of_an_l1_penalty():
    (net,) = nets(1)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = SGD(net, 0.0, 0.0, l1=0.5, clipped=net.parameters(), largest_norm=1e-12)
    steps(net, optimizer, rates=(0.1,))
    for old, new in zip(before, net.parameters(), strict=True):
        pull = 0.05 * old.sign() if old.ndim > 1 else 0.0
        torch.testing.assert_close(new.detach(), old - pull, rtol=0, atol=1e-6)


# Clipping


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_sgd_moves_by_the_gradient_scaled_to_the_bound(half):
    """The norm is of all parameters, before any is updated; in bfloat16, too, where updates come early."""
    ours, plain = nets()
    small, large = ours, plain
    optimizers = [
        SGD(small, 0.0, 0.0, half=half, clipped=small.parameters(), largest_norm=0.25),
        SGD(large, 0.0, 0.0, half=half),
    ]
    start = optimizers[1].snapshot(large)
    moves = []
    for net, optimizer in zip((small, large), optimizers, strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half), optimizer.updating(1.0):
            gradients(net, 0)
        optimizer.step(1.0)
        after = optimizer.snapshot(net)
        names = dict(net.named_parameters())
        moves.append(torch.cat([(after[name] - start[name]).flatten() for name in names]))
    norm = moves[1].norm().item()
    assert norm > 1
    assert moves[0].norm().item() == pytest.approx(0.25, rel=0.01 if half else 1e-4)
    torch.testing.assert_close(moves[0] * norm / 0.25, moves[1], rtol=0.03 if half else 1e-3, atol=norm / 200)


@pytest.mark.parametrize("name", ["adamw", "muon", "torch.optim:SGD"])
def test_the_optimizers_of_torch_get_clipped_gradients(name):
    ours, theirs = nets()
    optimizers = [
        TorchOptimizer(ours, name, {}, 0.0, clipped=ours.parameters(), largest_norm=0.25),
        TorchOptimizer(theirs, name, {}, 0.0),
    ]
    for number in range(2):
        for net, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            gradients(net, number)
            if net is theirs:
                assert nn.utils.clip_grad_norm_(net.parameters(), 0.25) > 0.25
            optimizer.step(0.01)
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize(("told", "bound"), [(None, 1.0), (0.1, 0.1)])
def test_a_regression_has_a_bound_on_the_gradients_of_its_net(told, bound):
    settings = RunConfig(**REGRESSION, precision="fp32", momentum=0.0, clip_norm=told)
    run = Run.prepare(settings, made(), CPU)
    before = run.weights()
    run.model.train()
    run.train_examples.targets = run.train_examples.targets * 1000
    run.step(torch.arange(32), 0.01)
    moves = {name: (value - before[name]) / 0.01 for name, value in run.weights().items()}
    del moves["log_deviation"]
    norm = torch.stack([move.norm() for move in moves.values()]).norm().item()
    assert norm == pytest.approx(bound, rel=1e-3)


# Label smoothing


def test_the_objective_has_smoothed_labels_and_the_loss_has_not():
    torch.manual_seed(0)
    outputs, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    task = Classify(smoothing=0.2)
    loss = task.loss(outputs, outputs, labels)
    assert torch.equal(loss, F.cross_entropy(outputs, labels))
    found = task.objective(loss, outputs, labels, torch.tensor(0.5))
    log_p = outputs.log_softmax(dim=1)
    by_hand = -(0.8 * log_p[torch.arange(6), labels] + 0.2 * log_p.mean(dim=1)).mean()
    torch.testing.assert_close(found, by_hand + 0.5)
    torch.testing.assert_close(found, F.cross_entropy(outputs, labels, label_smoothing=0.2) + 0.5)
    assert Classify().objective(loss, outputs, labels, None) is loss


def test_a_net_with_smoothed_labels_is_less_sure(blobs):
    plain, smoothed = (
        train(RunConfig(**MLP | {"p_drop": 0.0, "epochs": 10, "label_smoothing": share}), blobs)
        for share in (0.0, 0.3)
    )
    sure = [np.exp(each.predictions["test"].astype(float)).max(axis=1).mean() for each in (plain, smoothed)]
    assert sure[0] > 0.95
    assert sure[1] < 0.9
    assert plain.metrics["test_error_percent"] == smoothed.metrics["test_error_percent"] == 0


# Whole runs


@pytest.mark.parametrize(("name", "precision"), [("adamw", "fp32"), ("muon", "bf16")])
@pytest.mark.parametrize("net", RECIPES)
def test_every_model_learns_with_every_optimizer(net, name, precision, blobs):
    sizes = {"layers": (16,)} if RECIPES[net].layers else {"width": 0.05}
    settings = RunConfig(
        model=net, **sizes, optimizer=name, precision=precision, epochs=3, batch_size=32, learning_rate=0.01
    )
    run = Run.prepare(settings, blobs, CPU)
    before = run.weights()
    result = train(settings, blobs)
    assert result.status == "ok"
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    run.model.train()
    run.step(torch.arange(32), 0.01)
    after = run.weights()
    assert [key for key, value in after.items() if torch.equal(value, before[key])] == []
    assert {value.dtype for value in after.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_regression_is_learnt(name):
    data = made()
    settings = RunConfig(**REGRESSION, optimizer=name, epochs=40, learning_rate=0.01, precision="fp32")
    result = train(settings, data)
    assert result.metrics["test_rmse"] < 0.6 * float(np.std(data.test_targets))


def test_a_run_ends_and_begins_again_at_the_weights_of_its_best_epoch(blobs):
    settings = RunConfig(**MLP | {"epochs": 5}, optimizer="adamw", patience=1, learning_rate=0.05)
    result = train(settings, blobs)
    tested = result.epochs[result.cost["tested_epoch"] - 1]
    assert result.metrics["val_nll"] == pytest.approx(tested.val_loss, abs=2e-3)


def test_what_is_made_for_sgd_is_for_sgd_alone():
    base = RunConfig(**MLP | {"precision": "bf16"})
    assert halves_weights(base)
    assert stacks(base)
    for change in ({"optimizer": "adamw"}, {"label_smoothing": 0.1}, {"clip_norm": 1.0}):
        other = base.replace(**change)
        assert not stacks(other)
        assert halves_weights(other) == halves_inputs(other) == ("optimizer" not in change)


def test_two_moments_need_more_memory_than_a_velocity():
    base = RunConfig(model="mlp")
    shape = (1, 28, 28)
    sgd, adamw = (need_of(base.replace(optimizer=name), shape, 10, 100) for name in ("sgd", "adamw"))
    weights = sum(a * b for a, b in ((784, 1024), (1024, 1024), (1024, 2048), (2048, 10)))
    assert math.isclose(adamw.memory_bytes - sgd.memory_bytes, 4 * weights, rel_tol=0.01)
