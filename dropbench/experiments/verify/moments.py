"""Checks of E(D²), which the corrected initialisation divides by: signals are as large as without dropout."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from dropbench.catalog.dropouts import VARIANTS
from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.dropout.stream import Stream
from dropbench.experiments.verify.check import Check, exact, statistical
from dropbench.models.build import build_model
from dropbench.run.blocks.dropout import CONVENTIONS
from dropbench.run.blocks.model import CORRECTED, HE
from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator

P_DROPS = (0.1, 0.3, 0.5, 0.7, 0.9)
_UNITS = (1000, 64)
_MAPS = (400, 8, 6, 6)  # samples, channels, height, width
_ON_MAPS = ("spatial", "dropblock", "concrete")  # whose units of a map share noise
_ROWS = 1000
_FEW = 64  # units of a layer with noise on its weights, where every row and sample has a mask of its own
_SITES = {"p_drop_input": 0.125, "p_drop_conv": 0.25, "p_drop": 0.5}  # multiples of 2⁻¹⁶, so exact
_FEEDS = {  # the drop probability of the units that go into each layer of a net, in the order of the layers
    "mlp": ("p_drop_input", "p_drop", "p_drop", "p_drop"),
    "lecture-cnn": ("p_drop_input", "p_drop_conv", "p_drop_conv", "p_drop_conv", "p_drop", "p_drop"),
    "paper-cnn": ("p_drop_input", "p_drop_conv", "p_drop_conv", "p_drop", "p_drop", "p_drop"),
}


@torch.no_grad()
def moment_checks() -> Iterator[Check]:
    """Check every variant's E(D²) against its noise, and the corrected weights against E(D²)."""
    over = f"over p_drop {', '.join(map(str, P_DROPS))}"
    for name, variant in VARIANTS.items():
        for convention in CONVENTIONS if variant.scaled else CONVENTIONS[:1]:
            deviations = [found for p in P_DROPS for found in _deviations(name, convention, p)]
            kind = f"{name}, {convention}" if variant.scaled else name
            yield statistical(
                f"{kind}: second moment",
                f"that without dropout × E(D²), {over}",
                deviations,
            )
    yield from _weight_check()


def _deviations(name: str, convention: str, p: float) -> Iterator[float]:
    if name in ("dropconnect", "variational"):
        yield _through(nn.Linear(_FEW, _ROWS, bias=False), (8, _FEW), name, convention, p)
        if name == "variational":
            yield _through(nn.Conv2d(8, _ROWS // 10, 3, bias=False), (8, 8, 5, 5), name, convention, p)
        return
    shapes = (_UNITS, _MAPS) if name in _ON_MAPS else (_UNITS,)
    for shape in shapes:
        yield _on_units(shape, name, convention, p)


def _on_units(shape: tuple[int, ...], name: str, convention: str, p: float) -> float:
    """The mean over samples of Σ (Dx)²/E(D²) − x² in standard errors.

    Each sample's sum is the expected square that noise adds to a sum of its units with weights of mean 0.
    """
    before = math.sqrt(2) * torch.randn(shape, generator=torch_generator(50, "init"))
    units = before.relu() if name != "alpha" else before / math.sqrt(2)
    made = _layer(name, convention, p, None)
    moment = made.second_moment(Arriving(units, before, Stream.of(51, "mask").draw()))
    added = made(units, before).double().square() / moment - units.double().square()
    return _in_standard_errors(added.flatten(1).sum(1))


def _through(
    after: nn.Linear | nn.Conv2d, shape: tuple[int, ...], name: str, convention: str, p: float
) -> float:
    """The same for noise on the weights of ``after``: the mean over its outputs of Σ out²/E(D²) − plain²."""
    nn.init.normal_(after.weight, generator=torch_generator(52, "init"))
    units = (math.sqrt(2) * torch.randn(shape, generator=torch_generator(50, "init"))).relu()
    made = _layer(name, convention, p, after)
    moment = made.second_moment(Arriving(units, None, Stream.of(51, "mask").draw()))
    added = made.into(after, units).double().square() / moment - after(units).double().square()
    return _in_standard_errors(added.transpose(0, 1).flatten(1).sum(1))


def _layer(name: str, convention: str, p: float, after: nn.Module | None) -> DropoutLayer:
    activation = VARIANTS[name].activation or "relu"
    config = RunConfig(dropout=name, convention=convention, p_drop=p, activation=activation)
    made = make_dropout(config, "hidden", after)
    made.stream = Stream.of(53, "mask")
    return made.train()


def _in_standard_errors(values: torch.Tensor) -> float:
    return (values.mean() / values.std() * math.sqrt(len(values))).item()


def _weight_check() -> Iterator[Check]:
    """Check that a corrected start divides the squares of the weights by E(D²) of what goes in."""
    ratios: list[torch.Tensor] = []
    expected: list[float] = []
    for model, feeds in _FEEDS.items():
        for convention in CONVENTIONS:
            nets = [
                build_model(
                    (3, 8, 8),
                    10,
                    RunConfig(
                        model=model,
                        convention=convention,
                        init=init,
                        p_drop=_SITES["p_drop"],
                        p_drop_input=_SITES["p_drop_input"],
                        p_drop_conv=_SITES["p_drop_conv"] if model != "mlp" else 0.0,
                        width=0.05,
                    ),
                )
                for init in (CORRECTED, HE)
            ]
            corrected, plain = (
                [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)] for net in nets
            )
            for site, ours, theirs in zip(feeds, corrected, plain, strict=True):
                keep = 1 - _SITES[site]
                squares = (ours.weight.double() / theirs.weight.double()).square()
                ratios += [squares.min(), squares.max()]
                expected += [keep if convention == "inverted" else 1 / keep] * 2
    yield exact(
        "corrected start: weights",
        "their squares are He's over E(D²) of the units that go in: 1/(1 − p), under weight scaling 1 − p",
        torch.stack(ratios),
        torch.tensor(expected, dtype=torch.float64),
        tolerance=1e-5,  # the weights are in float32
    )
