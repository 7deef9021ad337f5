"""Nets of torchvision and timm: their sites, the images that they take, and that they train as others do."""

import hashlib
import io
import math
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torchvision
from scipy import stats
from torch import nn

import dropbench as db
from dropbench.api.sweep import sweep_agenda
from dropbench.cli.main import run
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import dropout_layers, monte_carlo, set_streams
from dropbench.dropout.residual import StochasticDepth
from dropbench.dropout.stream import Stream
from dropbench.engine.batches import Examples
from dropbench.engine.halving import halves_weights
from dropbench.engine.monte_carlo import monte_carlo_passes
from dropbench.engine.panel import errors_without_units
from dropbench.engine.task import Split
from dropbench.engine.tasks import Classify
from dropbench.engine.train import train
from dropbench.engine.variances import measured_layers
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.agenda import Agenda
from dropbench.experiments.trial import _to_try
from dropbench.experiments.workbench import Workbench
from dropbench.models import zoo
from dropbench.models.build import build_model, make_module
from dropbench.models.library import check_images
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.lines import horizontal_axis
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

RESNET, VIT, CONVNEXT = "timm:test_resnet", "timm:test_vit", "timm:test_convnext"
SMALL = "torchvision:mobilenet_v3_small"
SHAPE = (3, 32, 32)
SITES = {
    "torchvision:vgg11": {"hidden": 2},
    "torchvision:alexnet": {"hidden": 2},
    "torchvision:densenet121": {},
    "torchvision:efficientnet_b0": {"hidden": 1, "residual": 16},
    "torchvision:convnext_tiny": {"residual": 18},
    "torchvision:vit_b_16": {"hidden": 37},
    "torchvision:swin_t": {"hidden": 24, "residual": 12},
    "torchvision:regnet_y_400mf": {},
    "torchvision:mobilenet_v3_small": {"hidden": 1},
    "torchvision:resnet18": {},
    "torchvision:inception_v3": {"hidden": 1},
    "torchvision:googlenet": {"hidden": 1},
    "torchvision:squeezenet1_1": {"hidden": 1},
    "timm:resnet18": {"residual": 7},
    "timm:vit_tiny_patch16_224": {"hidden": 50, "residual": 22},
    "timm:efficientnet_b0": {"residual": 15},
    "timm:densenet121": {"hidden": 1},
}
"""How many sites a net has besides its head: its Dropout layers, and its stochastic depth."""


def on_meta(config: RunConfig, shape=(3, 224, 224), outputs=10) -> nn.Module:
    with torch.device("meta"):
        return make_module(shape, outputs, config)


def images(channels=3, side=32, count=40, classes=2) -> DataSet:
    generator = np.random.default_rng(3)
    labels = np.arange(count) % classes
    pixels = generator.integers(0, 200, (count, channels, side, side)) + 50 * labels[:, None, None, None]
    made = pixels.astype(np.uint8), labels.astype(np.int64)
    return DataSet("made", *made, *made, classes=tuple("abcdefghij"[:classes]))


@pytest.mark.parametrize(("model", "expected"), SITES.items())
def test_the_dropout_of_a_net_becomes_its_sites(model, expected):
    net = on_meta(RunConfig(model=model, p_drop_head=0.5))
    assert Counter(layer.site for layer in dropout_layers(net)) == {"head": 1, **expected}
    theirs = (nn.Dropout, nn.Dropout2d, torchvision.ops.StochasticDepth, timm.layers.DropPath)
    assert not [module for module in net.modules() if isinstance(module, theirs)]
    assert check_images(net, RunConfig(model=model), (3, 224, 224), 10, "") == "", "such it was made for"


@pytest.mark.parametrize("model", [RESNET, VIT, SMALL, "torchvision:squeezenet1_1", "torchvision:googlenet"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_net_takes_the_channels_of_the_data(model, channels):
    net = on_meta(RunConfig(model=model), (channels, 64, 64), 7)
    assert net.eval()(torch.empty(2, channels, 64, 64, device="meta")).shape == (2, 7)


def test_every_p_is_that_of_its_sites():
    config = RunConfig(model=VIT, p_drop=0.1, p_drop_head=0.2, p_drop_residual=0.4)
    found = {}
    for layer in dropout_layers(on_meta(config, SHAPE)):
        found.setdefault(layer.site, []).append(layer.p_drop)
    assert set(found["hidden"]) == {0.1}
    assert found["head"] == [0.2]
    assert max(found["residual"]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "model",
    ["torchvision:efficientnet_b0", "torchvision:convnext_tiny", "torchvision:resnet18", CONVNEXT],
)
def test_stochastic_depth_rises_linearly_with_depth(model):
    net = on_meta(RunConfig(model=model, p_drop_residual=0.5), (3, 64, 64))
    found = [layer.p_drop for layer in dropout_layers(net) if layer.site == "residual"]
    assert found[-1] == pytest.approx(0.5)
    steps = np.diff(found)
    if model.startswith("torchvision"):
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    else:  # two branches of a block may share one
        assert (steps >= 0).all()


def test_a_residual_branch_is_left_out_for_whole_samples_with_its_probability():
    layer = StochasticDepth(0.3)
    layer.stream = Stream(17)
    out = layer.train()(torch.ones(20_000, 3, 2))
    kept = out[:, 0, 0] != 0
    assert torch.equal(out, kept[:, None, None].expand_as(out) / layer.keep)
    assert stats.binomtest(int((~kept).sum()), len(kept), layer.chance.probability).pvalue > 1e-4
    assert torch.equal(layer.eval()(torch.ones(4, 3)), torch.ones(4, 3))
    with monte_carlo(layer):
        assert 0 < (layer(torch.ones(1000, 3)) == 0).all(1).sum() < 1000


@pytest.mark.parametrize("net", ["resnet18", "resnet50"])
def test_a_resnet_of_torchvision_without_its_branches_is_its_shortcuts(net):
    """A branch that is left out of every example adds nothing, whatever its weights are."""
    made = build_model(SHAPE, 3, RunConfig(model=f"torchvision:{net}", p_drop_residual=1 - 1e-6)).eval()
    last = max(layer.p_drop for layer in dropout_layers(made) if layer.site == "residual")
    assert last == 1 - 1e-6
    seen = []
    made.layer4[-1].register_forward_hook(lambda block, given, out: seen.append((given[0], out)))
    set_streams(made, "mc", 0, 0)
    with torch.no_grad(), monte_carlo(made):
        made(torch.linspace(-1, 1, 4 * 3 * 32 * 32).view(4, *SHAPE))
    ((arrived, left),) = seen
    assert torch.equal(left, arrived.relu())
    plain = build_model(SHAPE, 3, RunConfig(model=f"torchvision:{net}"))
    assert measured_layers(made).keys() == measured_layers(plain).keys(), "so a sweep compares them by name"
    assert all(map(torch.equal, made.state_dict().values(), plain.state_dict().values()))


def passed(net: nn.Module, seed: int) -> torch.Tensor:
    """The outputs in train mode for the masks of a seed, with batch norm at test."""
    set_streams(net.train(), "mask", seed, 0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        return net(torch.linspace(-1, 1, 4 * 3 * 32 * 32).view(4, *SHAPE))


@pytest.mark.parametrize("model", [RESNET, VIT, CONVNEXT, SMALL, "timm:test_efficientnet"])
def test_with_every_p_at_0_a_net_is_deterministic_and_the_same_without_its_sites(model):
    net = build_model(SHAPE, 3, RunConfig(model=model))
    assert torch.equal(passed(net, 0), passed(net, 1))
    dropping = build_model(SHAPE, 3, RunConfig(model=model, p_drop_head=0.5))
    assert all(map(torch.equal, net.parameters(), dropping.parameters())), "the seed alone makes the weights"
    torch.testing.assert_close(net.eval()(torch.ones(2, *SHAPE)), dropping.eval()(torch.ones(2, *SHAPE)))
    assert not torch.equal(passed(dropping, 0), passed(dropping, 1))
    assert torch.equal(passed(dropping, 1), passed(dropping, 1))


def test_the_attention_of_timm_drops_by_its_site():
    net = build_model(SHAPE, 3, RunConfig(model=VIT, p_drop=0.4))
    attention = next(module for module in net.modules() if hasattr(module, "attn_drop"))
    seen = []
    attention.attn_drop.register_forward_hook(lambda layer, given, out: seen.append((given[0], out)))
    passed(net, 0)
    ((before, after),) = seen
    rows = before.sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows))
    assert stats.binomtest(int((after == 0).sum()), after.numel(), 0.4).pvalue > 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {"model": RESNET, "p_drop_head": 0.5, "p_drop_residual": 0.3},
        {"model": RESNET, "p_drop_head": 0.5, "small_images": True, "precision": "bf16"},
        {"model": VIT, "p_drop": 0.2, "mc_samples": 3},
        {"model": RESNET, "p_drop_residual": 0.5, "mc_samples": 3},
        {"model": SMALL, "p_drop": 0.5, "convention": "weight-scaling", "snapshots": 1},
        {"model": CONVNEXT, "p_drop_head": 0.5, "dropout": "dropconnect"},
        {"model": RESNET, "p_drop_head": 0.5, "dropout": "concrete"},
        {"model": RESNET, "p_drop_head": 0.5, "joint": True},
        {"model": RESNET, "p_drop_head": 0.5, "thinned": True},
    ],
    ids=str,
)
def test_a_net_trains(settings):
    data = images()
    config = bound(data, **settings, epochs=1, batch_size=16)
    result = train(config, data, panel="mc_samples" not in settings)
    assert result.status == "ok", result.message
    assert math.isfinite(result.metrics["test_nll"])
    assert not halves_weights(config)
    assert ("learned_p_drop_head" in result.metrics) == (config.dropout.variant == "concrete")
    if settings.get("mc_samples"):
        probabilities = np.exp(result.predictions["test_mc"].astype(float))
        np.testing.assert_allclose(probabilities.sum(-1), 1, atol=5e-3)
    else:
        (units,) = {r.value for r in result.panel if r.measure == "units"}
        assert units == 64 or settings["model"] != CONVNEXT


def test_a_grey_image_and_a_number_as_target_are_fine():
    grey = images(channels=1)
    targets = grey.train_targets.astype(np.float32)
    data = replace(grey, train_targets=targets, test_targets=targets, classes=())
    config = RunConfig(model=RESNET, p_drop_head=0.5, epochs=1, **data.settings)
    assert math.isfinite(train(config, data).metrics["test_rmse"])


def test_passes_of_a_head_alone_share_the_layers_before_it():
    config = RunConfig(model=RESNET, p_drop_head=0.5)
    data = images()
    net = build_model(SHAPE, 2, config).eval()
    examples = Examples(data.test_inputs / 255, data.test_targets, torch.device("cpu"))
    calls = Counter()
    net.conv1.register_forward_hook(lambda *_: calls.update(["stem"]))
    set_streams(net, "mc", 0, 0)
    passes = monte_carlo_passes(net, examples, torch.arange(40), "fp32", 12, config)
    assert passes.shape == (12, 40, 2)
    assert calls["stem"] == 1
    assert passes.std(0).min() > 0


def test_removals_at_a_head_share_the_layers_before_it():
    data, config = images(), RunConfig(model=RESNET, p_drop_head=0.5)
    net = build_model(SHAPE, 2, config).eval()
    split = Split(Examples(data.test_inputs / 255, data.test_targets, torch.device("cpu")), torch.arange(40))
    calls = Counter()
    net.conv1.register_forward_hook(lambda *_: calls.update(["stem"]))
    errors = errors_without_units(net, Classify(), split, config)
    assert calls["stem"] == 2, "of 40 examples in batches of 32, for all 46 choices"
    assert errors[0.0] == Classify().error_on(net, split, "fp32")


@pytest.fixture
def faulty(request, monkeypatch):
    """A net with a fault, as timm has nets, under the name that it has there."""

    class Faulty(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

        def get_classifier(self):
            return self.fc

        def forward(self, inputs):
            return request.param(self.fc(self.conv(inputs).mean((2, 3))))

    def faulty_net(num_classes, **more):
        return Faulty(num_classes)

    monkeypatch.setitem(timm.models._registry._model_entrypoints, "faulty_net", faulty_net)
    zoo.names.cache_clear()
    yield "timm:faulty_net"
    zoo.names.cache_clear()


FAULTS = [
    (lambda units: units + torch.rand(len(units), 1, device=units.device), "is random in evaluation"),
    (lambda units: (units - 1e9).sqrt(), "not finite before"),
    (lambda units: units.detach(), "depend on no parameter"),
]


@pytest.mark.parametrize(("faulty", "said"), FAULTS, indirect=["faulty"], ids=lambda value: "")
def test_a_fault_of_a_librarys_net_is_one_line_before_the_first_run(faulty, said):
    with pytest.raises(UsageError, match=f"{said}.*Use another net; dropbench model list"):
        bound(images(), model=faulty, p_drop_head=0.5)


def test_a_very_large_net_is_tried_by_its_shape_alone(caplog):
    with caplog.at_level("INFO", logger="dropbench"):
        (config,) = _to_try([RunConfig(model=RESNET), RunConfig(model="torchvision:vgg11")], images(side=32))
    assert config.model.name == RESNET
    assert "torchvision:vgg11 is too large to be tried" in caplog.text


@pytest.mark.parametrize("model", ["resnet18", "densenet121", "googlenet", "shufflenet_v2_x0_5"])
def test_a_small_stem_keeps_the_resolution(model):
    plain, small = (RunConfig(model=f"torchvision:{model}", small_images=small) for small in (False, True))
    assert last_map(on_meta(small, SHAPE)) == 4 * last_map(on_meta(plain, SHAPE))


@pytest.mark.parametrize("model", ["timm:resnet18", "timm:resnet18d", "timm:test_resnet"])
def test_timm_has_such_stems_too_and_deep_ones(model):
    assert last_map(on_meta(RunConfig(model=model, small_images=True), SHAPE)) == 4


def test_a_stem_of_another_form_is_refused():
    with pytest.raises(UsageError, match=r"no stem like a ResNet's.*Leave out `small_images`"):
        on_meta(RunConfig(model="torchvision:vgg11", small_images=True))


def last_map(net: nn.Module) -> int:
    sides = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda layer, given, out: sides.append(out.shape[-1]))
    net.eval()(torch.empty(2, *SHAPE, device="meta"))
    return sides[-1]


def bound(data: DataSet, **settings) -> RunConfig:
    return Workbench.set_up(data, Machine(device="cpu")).bind([RunConfig(**settings)])[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "torchvision:resnet19"}, "Did you mean 'resnet18'.*model list"),
        ({"model": "timm:test_resnett"}, "Did you mean 'test_resnet'"),
        ({"model": "torchvision:alexnet"}, r"fails on images of 32×32 pixels \(.*too small"),
        ({"model": "timm:deit_tiny_distilled_patch16_224"}, "no single classifier"),
        ({"model": RESNET, "p_drop": 0.5}, "Use `p_drop_head`"),
        ({"model": SMALL, "p_drop_residual": 0.5}, "no residual dropout site"),
        ({"model": RESNET, "dropout": "stochastic-depth"}, "place of it.*Write `p_drop_residual=0.2`"),
        ({"model": RESNET, "train_size": 33, "batch_size": 16}, "has one, on which .* cannot be trained"),
        ({"model": RESNET, "p_drop_conv": 0.5}, "no conv dropout site"),
        ({"model": RESNET, "p_drop_input": 0.5}, "no input dropout site"),
        ({"model": "mlp", "p_drop_head": 0.5}, "no head dropout site. Leave out `p_drop_head`"),
        ({"model": "mlp", "small_images": True}, "for nets of libraries"),
        ({"model": RESNET, "layers": (5,)}, "fixed layers"),
        ({"model": RESNET, "width": 2.0}, "cannot be made wider"),
        ({"model": RESNET, "activation": "logistic"}, "activations of its own"),
        ({"model": RESNET, "init": "he"}, "makes its initial weights itself"),
        ({"model": RESNET, "frozen": True}, "Add `pretrained`"),
        ({"model": RESNET, "pretrained": True, "small_images": True}, "own stem"),
        ({"model": RESNET, "p_drop_head": 0.5, "dropout": "standout"}, "does not tell"),
        ({"model": RESNET, "p_drop_residual": 0.5, "thinned": True}, "one mask for all"),
        ({"model": RESNET, "inputs": "table"}, "needs images"),
        ({"model": RESNET, "kl_sparsity": 0.1}, "KL sparsity"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_the_first_run(settings, said):
    with pytest.raises(UsageError, match=said) as caught:
        bound(images(), **settings)
    assert "\n" not in str(caught.value)


def test_images_that_shrink_to_nothing_are_told(told):
    bound(images(), model="torchvision:resnet18", small_images=True)
    before = len(told)
    bound(images(), model="torchvision:resnet18")
    (said,) = (sentence for sentence in told[before:] if "shrink" in sentence)
    assert "32×32 pixels shrink to 1×1" in said
    assert "Use `small_images` or another net" in said
    assert not [sentence for sentence in told[:before] if "shrink" in sentence]
    bound(images(side=28), model="timm:vit_tiny_patch16_224")
    assert "28×28 pixels shrink to 1×1" in told[-1], "a single patch"


def test_timm_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(zoo, "has_timm", lambda: False)
    zoo.names.cache_clear()
    with pytest.raises(UsageError, match=r"timm is not installed.*dropbench\[timm\]"):
        zoo.net_of(RESNET)
    zoo.names.cache_clear()


def test_no_network_is_one_line(monkeypatch, tmp_path):
    """No name server knows the address, which is what a machine without a network has of each."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.value
    monkeypatch.setattr(weights, "url", "https://nowhere.invalid/weights-12345678.pth")
    on_meta(RunConfig(model="torchvision:squeezenet1_1", pretrained=True))  # shapes need no weights
    with pytest.raises(DropbenchError, match="weights of torchvision:squeezenet1_1 cannot be") as caught:
        zoo.build("torchvision:squeezenet1_1", SHAPE, 3, pretrained=True)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("net", ["squeezenet1_1", "mobilenet_v3_small", "googlenet"])
@pytest.mark.parametrize("channels", [3, 1])
def test_a_pretrained_net_has_its_weights_and_a_new_classifier(net, channels, monkeypatch, tmp_path):
    """The weights are random ones, in a file where torch's cache has those of the net."""
    model = f"torchvision:{net}"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = torchvision.models.get_model(net, weights=None)
    content = io.BytesIO()
    torch.save(original.state_dict(), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    place = tmp_path / "hub" / "checkpoints" / f"net-{digest}.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(content.getvalue())
    weights = torchvision.models.get_model_weights(net).DEFAULT.value
    monkeypatch.setattr(weights, "url", f"https://nowhere.invalid/{place.name}")

    made = build_model((channels, 64, 64), 3, RunConfig(model=model, pretrained=True, frozen=True))
    assert made.eval()(torch.zeros(2, channels, 64, 64)).shape == (2, 3)
    theirs, mine = dict(original.named_parameters()), dict(made.named_parameters())
    first, *others = (name for name in mine if name in theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in others)
    torch.testing.assert_close(mine[first].sum(1), theirs[first].sum(1))
    trained = {name for name, parameter in mine.items() if parameter.requires_grad}
    assert trained == mine.keys() - theirs.keys()
    assert len(trained) == 2


def test_the_default_of_p_is_not_meant_where_the_head_is_told(tmp_path, monkeypatch):
    told = {"model": RESNET, "p_head": "0,0.5", "epochs": 1, "seeds": 1, "out": tmp_path}
    agenda = sweep_agenda(images(), **told)
    assert [(run.dropout.p_drop, run.dropout.p_drop_head) for run in agenda.todo] == [(0, 0), (0, 0.5)]
    both = sweep_agenda(images(), **{**told, "model": VIT, "p": 0.2})
    assert {run.dropout.p_drop for run in both.todo} == {0.0, 0.2}
    given = {}
    monkeypatch.setattr(
        "dropbench.api.sweep.sweep_agenda", lambda data, **told: given.update(told) or Agenda()
    )
    for flags, expected in (([], "0.1..0.8"), (["--p-head", "0.5"], None), (["--p", "0.3"], "0.3")):
        given.clear()
        assert run(["sweep", "--dry-run", *flags]) == 0
        assert given.get("p_drop") == expected


def test_a_sweep_of_the_head_is_one_table_along_it(tmp_path):
    done = db.sweep(
        images(),
        model=RESNET,
        p_head=[0.25, 0.5],
        p_residual=[0.0, 0.5],
        epochs=1,
        seeds=1,
        out=tmp_path,
        jobs=1,
    )
    assert not done.outcome.unsuccessful
    assert set(done.frame["p_drop_head"]) == {0, 0.25, 0.5}
    (subject,) = done.report.subjects
    assert subject.sweep.varying == ("p_drop_head", "p_drop_residual")
    assert horizontal_axis(subject.sweep) == "p_drop_head"
    (command,) = sweep_commands(subject.sweep)
    assert f"--p 0 --p-head 0.25,0.5 --p-residual 0,0.5 --model {RESNET} " in command
    assert not db.sweep(
        images(), model=RESNET, p_head=[0.25, 0.5], p_residual=[0.0, 0.5], epochs=1, seeds=1, out=tmp_path
    ).outcome.ok, "it is resumed"


def test_the_list_of_nets_is_searched(capsys):
    assert run(["model", "list"]) == 0
    written = capsys.readouterr()
    assert "lecture-cnn" in written.out
    assert "torchvision:resnet18    " in written.out
    assert "11,689,512" in written.out
    assert "timm has 1," in written.err
    assert run(["model", "list", "VIT_tiny*224"]) == 0
    written = capsys.readouterr().out
    assert "timm:vit_tiny_patch16_224" in written
    assert "resnet" not in written
    assert run(["model", "list", "resnett18", "--json"]) == 2
    assert "Did you mean 'timm:resnet18'?" in capsys.readouterr().err
