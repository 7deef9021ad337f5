"""What a setting means in code: nets rebuilt from the text, its formulas against the noise of the layers."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from dropbench.catalog.arms import ARMS
from dropbench.catalog.dropouts import VARIANTS
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import set_streams
from dropbench.dropout.standout import Standout
from dropbench.errors import UsageError
from dropbench.experiments.find.in_code import LONGEST, NONE, in_code
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig

EXAMPLES = 64
OWN = "experiments.broken_nets:make_"
CONVOLUTIONAL = ("lecture-cnn", "paper-cnn")


def data_of(shape=(1, 8, 8), classes=3) -> DataSet:
    inputs, labels = np.zeros((2 * classes, *shape), np.uint8), np.arange(2 * classes) % classes
    return DataSet("made", inputs, labels, inputs, labels, tuple(map(str, range(classes))))


def test_examples_are_of_the_shape_that_own_nets_take():
    assert math.prod(data_of().input_shape) == 64


def dropped(text: str) -> dict[str, tuple[str, float]]:
    """The dropout layer of torch and its p after each layer that the text names; after "" of the input."""
    found = {}
    for part in text.split("; "):
        if match := re.fullmatch(r"nn\.(\w+)\(([\d.]+)\) (?:after (.+)|on the input)", part):
            for name in names_in(match[3] or ""):
                assert name not in found
                found[name] = match[1], float(match[2])
    return found


def names_in(words: str) -> list[str]:
    found = []
    for name in re.split(r", | and ", words):
        first, _, last = name.partition(" to ")
        head, _, number = first.rpartition(".")
        end = int(last.rpartition(".")[2]) if last else 0
        found += [f"{head}.{each}" for each in range(int(number), end + 1)] if last else [first]
    return found


class Plain(nn.Module):
    """The net of dropbench with its weights, in torch's own layers, with dropout where the text has it."""

    def __init__(self, net: nn.Module, text: str, window: int) -> None:
        super().__init__()
        drop = {name: getattr(nn, kind)(p) for name, (kind, p) in dropped(text).items()}
        self.layers, self.drop, self.window = nn.ModuleDict(), nn.ModuleDict(), window
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                self.layers[name.replace(".", "_")] = layer
        names = {"": "input", **{name.replace("_", "."): name for name in self.layers}}
        for name, layer in drop.items():
            self.drop[names[name]] = layer  # KeyError: the text names a layer that is not there

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        units = self.dropped("input", units)
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d):
                padded = layer.padding
                units = F.conv2d(units, layer.weight, layer.bias, layer.stride, padded)
                units = F.max_pool2d(units, self.window, 2, padding=self.window // 3)
            else:
                units = layer(units.flatten(1))
            units = units if name == "output" else self.dropped(name, torch.sigmoid(units))
        return units

    def dropped(self, name: str, units: torch.Tensor) -> torch.Tensor:
        return self.drop[name](units) if name in self.drop else units


def share_dropped(net: nn.Module, layers: dict[str, nn.Module], inputs: torch.Tensor) -> dict[str, float]:
    """The share of zeros among the units that arrive at each layer in training."""
    found = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, given, name=name: found.update({name: (given[0] == 0).double().mean().item()})
        )
        for name, layer in layers.items()
    ]
    net.train()
    net(inputs)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(("model", "window"), [("mlp", 0), ("lecture-cnn", 2), ("paper-cnn", 3)], ids=str)
@pytest.mark.parametrize("of_input", [0.0, 0.2])
def test_a_plain_net_made_from_the_text_predicts_the_same_and_drops_as_much_everywhere(
    model, window, of_input, monkeypatch
):
    more = {"layers": (60, 50, 40)} if model == "mlp" else {"p_drop_conv": 0.25, "width": 0.1}
    config = RunConfig(model=model, p_drop=0.5, p_drop_input=of_input, activation="logistic", **more)
    data = data_of((1, 16, 16))
    net = build_model(data.input_shape, data.outputs, config)
    set_streams(net, "mask", 0, 0)
    plain = Plain(net, in_code(config, data), window)
    inputs = torch.rand(EXAMPLES, *data.input_shape, generator=torch.Generator().manual_seed(3)) + 0.1
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        assert torch.allclose(plain.eval()(inputs), net.eval()(inputs), atol=1e-5)
        layers = dict(plain.layers.items())
        real = share_dropped(net, layers, inputs)
        # Convolutions and the input are called otherwise in the plain net: its dropout layers tell.
        there = {}
        for name, layer in plain.drop.items():
            layer.register_forward_hook(
                lambda module, given, out, name=name: there.update({name: (out == 0).double().mean().item()})
            )
        plain.train()(inputs)
    arriving = dict(zip(layers, ("input", *layers), strict=False))
    for name, before in arriving.items():
        p = plain.drop[before].p if before in plain.drop else 0.0
        expected = there.get(before, 0.0)
        units = EXAMPLES * 20  # at least as many arrive anywhere
        error = 5 * math.sqrt(2 * p * (1 - p) / units)
        assert real[name] == pytest.approx(expected, abs=error + 1e-12), name


@pytest.mark.parametrize("model", ["mlp", *CONVOLUTIONAL])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_told_with_its_p_and_as_a_layer_of_torch_only_where_that_does_the_same(
    variant, model
):
    of_maps = {"p_drop_conv": 0.15} if model != "mlp" and variant != "dropconnect" else {}
    selu = {"activation": "selu"} if variant == "alpha" else {}
    config = RunConfig(model=model, p_drop=0.35, dropout=variant, **of_maps, **selu)
    text = in_code(config, data_of((3, 16, 16)))
    assert "0.35" in text
    assert "0.15" in text or not of_maps
    assert "\n" not in text
    assert len(text) <= LONGEST
    kinds = set(re.findall(r"(?:nn|torchvision\.ops)\.\w+", text))
    maps = {"spatial": "nn.Dropout2d", "dropblock": "torchvision.ops.DropBlock2d"}
    if variant in maps:
        assert kinds == {"nn.Dropout", *([maps[variant]] if of_maps else [])}
    else:
        own = {"bernoulli": {"nn.Dropout"}, "alpha": {"nn.AlphaDropout"}}
        assert kinds == own.get(variant, set())
    learned = "learned_p_drop" in text
    assert learned == VARIANTS[variant].learns


def formula_in(variant: str) -> str:
    """The formula of a variant on units in training, as the text has it."""
    text = in_code(RunConfig(model="mlp", p_drop=0.3, dropout=variant), data_of())
    return text.partition(f"{variant}(p): ")[2].partition(" in training")[0]


SCOPE = {**vars(torch), "u": None, "math": math}


@pytest.mark.parametrize("variant", ["gaussian", "uniform"])
def test_formulas_of_continuous_noise_have_mean_1_and_the_variance_of_dropout(variant):
    p = 0.3
    x = torch.ones(100_000, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scope = {**SCOPE, "sqrt": math.sqrt, "p": p, "x": x, "h": math.sqrt(3 * p / (1 - p))}
        noise = eval(formula_in(variant), scope)  # noqa: S307  # the text is dropbench's own
    assert noise.mean().item() == pytest.approx(1, abs=5 * math.sqrt(p / (1 - p) / len(x)))
    assert noise.var().item() == pytest.approx(p / (1 - p), rel=0.03)
    inside = (noise - 1).abs().max() <= math.sqrt(3 * p / (1 - p))
    assert bool(inside) == (variant == "uniform")


def test_the_formula_of_concrete_dropout_is_the_layer():
    p, u = torch.tensor(0.3), torch.linspace(0.01, 0.99, 99)
    factor = eval(formula_in("concrete"), {**SCOPE, "p": p, "u": u, "x": 1.0})  # noqa: S307
    relaxed = 1 - torch.sigmoid((torch.logit(p) + torch.logit(u)) / 0.1)
    assert torch.allclose(factor, relaxed / (1 - p), atol=1e-5)


def test_the_formula_of_standout_has_the_layers_keep_probability():
    text = in_code(RunConfig(model="mlp", p_drop=0.3, dropout="standout"), data_of())
    (formula,) = re.findall(r"q = (.*?) of the pre-activation", text)
    z = torch.linspace(-3, 3, 13)
    keep = eval(formula, {**SCOPE, "p": torch.tensor(0.3), "z": z})  # noqa: S307
    assert torch.allclose(keep, Standout(0.3).keep_probability(z))


@pytest.mark.parametrize("side", [16, 32])
def test_squares_are_as_large_as_the_maps_let_them_be(side):
    config = RunConfig(p_drop_conv=0.2, dropout="dropblock")
    sides = re.findall(
        r"torchvision\.ops\.DropBlock2d\(0\.2, (\d)\)", in_code(config, data_of((3, side, side)))
    )
    assert sides == (["3", "1"] if side == 16 else ["3"])  # the last maps have 2×2 pixels, or 4×4
    for block in sides:
        torchvision.ops.DropBlock2d(0.2, int(block))(torch.ones(2, 3, side, side))


def test_weight_scaling_is_torchs_dropout_times_the_keep_probability():
    config = RunConfig(model="mlp", p_drop=0.3, convention="weight-scaling")
    assert "nn.Dropout(0.3) * 0.7 after" in in_code(config, data_of())
    assert "*" not in in_code(config.replace(convention="inverted"), data_of())


@pytest.mark.parametrize("model", ["mlp", *CONVOLUTIONAL, "autoencoder"])
def test_without_dropout_it_says_so(model):
    assert in_code(RunConfig(model=model), data_of((1, 16, 16))) == NONE


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_the_dropout_layers_of_ones_own_net_are_named_with_the_p_of_the_run(p):
    text = in_code(RunConfig(model=f"{OWN}Good", p_drop=p), data_of())
    assert (
        text
        == (f"nn.Dropout({p})" if p else f"{NONE}: p = 0")
        + (" as its layers" if p else " in its layers")
        + " dropout"
    )


MAPS = """
from torch import nn

def net(shape, classes, config):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Dropout2d(), nn.Flatten(), nn.Dropout1d(), nn.Linear(144, classes)
    )
"""


def test_maps_of_ones_own_net_are_dropped_as_the_variant_does(tmp_path):
    (tmp_path / "maps.py").write_text(MAPS, encoding="utf-8")
    config = RunConfig(model=f"{tmp_path / 'maps.py'}:net", p_drop_conv=0.2)
    assert in_code(config, data_of()) == "nn.Dropout(0.2) as its layers 1 and 3"
    spatial = in_code(config.replace(dropout="spatial"), data_of())
    assert spatial == "nn.Dropout2d(0.2) as its layers 1; nn.Dropout(0.2) as its layers 3"


@pytest.mark.parametrize("net", ["Raises", "UnusedDropout", "Views", "Lazy", "Squeezes", "NaNWeights"])
def test_a_net_that_fails_in_a_pass_or_reads_values_still_has_its_layers_named(net):
    before = torch.get_rng_state()
    assert "nn.Dropout(0.4) as its layers " in in_code(RunConfig(model=f"{OWN}{net}", p_drop=0.4), data_of())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("net", ["Attention", "Recurrent"])
def test_modules_that_drop_by_themselves_have_their_probability_set(net):
    config = RunConfig(model=f"{OWN}{net}", p_drop=0.4, dropout="gaussian")
    assert "dropout = 0.4 in its layers " in in_code(config, data_of())


def test_a_dropout_of_ones_own_is_named_by_its_class():
    text = in_code(RunConfig(model="mlp", p_drop=0.4, dropout="torch.nn:FeatureAlphaDropout"), data_of())
    assert text.startswith("FeatureAlphaDropout(0.4) after ")


def test_nets_of_torchvision_have_their_heads_branches_and_layers_named():
    data = data_of((3, 64, 64))
    text = in_code(RunConfig(model="torchvision:resnet18", p_drop_head=0.3, p_drop_residual=0.2), data)
    assert 'StochasticDepth(0.2, "row"), p rising from 0.025' in text
    assert "nn.Dropout(0.3) before" in text
    net = torchvision.models.alexnet()
    text = in_code(RunConfig(model="torchvision:alexnet", p_drop=0.3), data)
    own = [name for name, each in net.named_modules() if isinstance(each, nn.Dropout)]
    assert names_in(text.partition("as its layers ")[2]) == own
    text = in_code(RunConfig(model="torchvision:alexnet", p_drop_head=0.3), data)
    assert "p = 0 in its layers" in text
    assert all(name in text for name in own)


def test_patterns_stand_for_layers_that_are_all_of_that_name():
    text = in_code(RunConfig(model="torchvision:vit_b_32", p_drop=0.1), data_of((3, 64, 64)))
    assert "encoder_layer_*.mlp.4" in text
    assert len(text) <= LONGEST


@pytest.mark.parametrize("schedule", ["early", "late", "ramp"])
def test_a_schedule_is_told_with_its_epoch(schedule):
    config = RunConfig(model="mlp", p_drop=0.3, epochs=9, dropout_schedule=schedule, cutoff_epoch=4)
    assert re.search(rf"\b{5 if schedule == 'late' else 4}\b", in_code(config, data_of()))


def test_wider_layers_and_bounds_are_told_and_nothing_of_dropout_without_it():
    config = RunConfig(model="mlp", layers=(60, 30), p_drop=0.5, widened=True, max_norm=3)
    text = in_code(config, data_of())
    assert "120 and 60 units" in text
    assert "renorm_(2, 0, 3)" in text
    assert "units" not in in_code(config.replace(p_drop=0.0), data_of())


@pytest.mark.parametrize("arm", ARMS)
def test_arms_say_how_many_they_average_and_whether_their_nets_drop(arm):
    config = RunConfig(model="mlp", p_drop=0.35, epochs=10)
    text = in_code(config, data_of(), arm, 7)
    kind = ARMS[arm]
    assert (" 7 " in text) == (kind.is_ensemble or kind.monte_carlo)
    assert ("0.35" in text) == kind.drops
    assert (NONE in text) == (not kind.drops)
    assert ("bootstrap" in text) == kind.bootstraps
    assert len(text) <= LONGEST


def test_an_unknown_arm_is_refused():
    with pytest.raises(UsageError):
        in_code(RunConfig(model="mlp"), data_of(), "bagged")


def test_an_ensemble_of_regressions_is_a_mixture():
    data = data_of()
    targets = np.linspace(0, 1, len(data.train_targets), dtype=np.float32)
    data = DataSet("made", data.train_inputs, targets, data.test_inputs, targets, ())
    text = in_code(RunConfig(model="mlp", task="regression", p_drop=0.3), data, "dropout-ensemble", 5)
    assert "mixture" in text
    assert "softmax" not in text
    assert "after hidden.0" in text


@pytest.mark.parametrize("layers", [3, 12, 40])
def test_deep_nets_stay_one_short_line(layers):
    config = RunConfig(model="mlp", layers=(8,) * layers, p_drop=0.3, p_drop_input=0.1)
    assert len(in_code(config, data_of())) <= LONGEST
