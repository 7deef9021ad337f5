"""Checks of averages: those of one member, and of passes without dropout, change nothing."""

from collections.abc import Iterator

import torch
from torch import nn

from dropbench.dropout.control import monte_carlo, set_streams
from dropbench.engine.batches import ImageExamples, Normalisation
from dropbench.engine.evaluate import predict
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.experiments.bagging.averaging import log_mean
from dropbench.experiments.verify.check import Check, exact
from dropbench.experiments.verify.masks import layer
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator


def average_checks() -> Iterator[Check]:
    """Check that an ensemble of one is its member and Monte-Carlo dropout at p = 0 the deterministic net.

    Also check that Monte-Carlo passes differ from one another, while batch-norm stays in eval mode.
    """
    device = torch.device("cpu")
    generator = torch_generator(40, "init")
    images = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=generator)
    unit = torch.ones(1, 1, 1)
    normalisation = Normalisation(128 * unit, 64 * unit)
    examples = ImageExamples(images.numpy(), torch.arange(60).numpy(), normalisation, device)
    everything = torch.arange(60)
    model = build_model((1, 8, 8), 10, RunConfig(model="mlp", layers=(32, 32)))
    plain = predict(model, examples, everything, "fp32")
    yield exact("an ensemble of one", "its member, to the last bit", log_mean([plain]), plain, tolerance=0.0)
    set_streams(model, "mc", 0, 0)
    averaged = predict_monte_carlo(model, examples, everything, "fp32", ladder=(8,)).log_mean[0]
    yield exact("Monte-Carlo at p = 0", "the deterministic net", averaged, plain, tolerance=1e-6)
    normalised = nn.Sequential(nn.BatchNorm1d(20), layer(0.5)).eval()
    units = torch.randn(50, 20, generator=generator)
    before = normalised(units)
    with monte_carlo(normalised):
        passes = [normalised(units) for _ in range(2)]
    yield Check(
        "Monte-Carlo passes",
        "differ from one another: the share of units that do is 1/2 at p = 1/2",
        0.5,
        (passes[0] != passes[1]).double().mean().item(),
        5 * (0.25 / units.numel()) ** 0.5,
    )
    yield exact("batch-norm in Monte-Carlo passes", "stays in eval", normalised(units), before, tolerance=0.0)
