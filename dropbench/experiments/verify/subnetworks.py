"""Checks by closed forms: all 2ⁿ subnetworks of a small net, both conventions, and ridge regression.

A convention is weight scaling at test, or inverted dropout, which scales in training.
"""

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.experiments.bagging.averaging import log_mean
from dropbench.experiments.verify.check import Check, exact, statistical
from dropbench.experiments.verify.masks import layer
from dropbench.run.streams import torch_generator

_P_DROPS = (0.2, 0.5, 0.8)
_HIDDEN, _INPUTS, _CLASSES = 10, 6, 4


def normal(*shape: int, seed: int) -> torch.Tensor:
    """Draw standard normal numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch_generator(seed, "init"))


def all_masks(units: int) -> torch.Tensor:
    """All masks of so many units, ``(2 ** units, units)``."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def mask_probabilities(masks: torch.Tensor, keep: float) -> torch.Tensor:
    """The probability of each mask, ``(masks,)``."""
    kept = masks.sum(1)
    return keep**kept * (1 - keep) ** (masks.shape[1] - kept)


class _Net:
    """A net with one hidden ReLU layer, dropout behind it, and a softmax: 2¹⁰ subnetworks."""

    def __init__(self) -> None:
        self.images = normal(40, _INPUTS, seed=10)
        self.labels = torch.arange(40) % _CLASSES
        self.hidden = torch.relu(self.images @ normal(_INPUTS, _HIDDEN, seed=11))
        self.weights = normal(_HIDDEN, _CLASSES, seed=12)
        self.bias = normal(_CLASSES, seed=13)

    def log_probabilities(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities ``(…, classes)`` from masked hidden units ``(…, hidden)``."""
        return F.log_softmax(hidden @ self.weights + self.bias, dim=-1)

    def members(self) -> torch.Tensor:
        """Log-probabilities of every subnetwork, ``(masks, examples, classes)``."""
        return self.log_probabilities(all_masks(_HIDDEN)[:, None, :] * self.hidden)


def enumeration_checks() -> Iterator[Check]:
    """Check weight scaling and Monte-Carlo dropout against all subnetworks of a small net."""
    net = _Net()
    members, masks = net.members(), all_masks(_HIDDEN)
    scaled: list[torch.Tensor] = []
    geometric: list[torch.Tensor] = []
    gaps: list[float] = []
    farther: list[torch.Tensor] = []
    divergences: list[torch.Tensor] = []
    ratios: list[float] = []
    for p in _P_DROPS:
        dropout = layer(p, "weight-scaling", seed=14)
        shares = mask_probabilities(masks, dropout.keep)[:, None, None]
        arithmetic_mean = (shares * members.exp()).sum(0)
        log_geometric = (shares * members).sum(0)
        geometric.append(F.log_softmax(log_geometric, dim=-1))
        scaled.append(net.log_probabilities(dropout.eval()(net.hidden)))
        # Among all distributions q the geometric mean g minimises Σ share KL(q ‖ member); for another q the
        # sum is larger by KL(q ‖ g). Weight scaling gives g; the arithmetic mean is compared as another q.
        mean_log = arithmetic_mean.log()
        to_members = [(q.exp() * (q - log_geometric)).sum(-1) for q in (mean_log, scaled[-1])]
        farther.append(to_members[0] - to_members[1])
        divergences.append((arithmetic_mean * (mean_log - scaled[-1])).sum(-1))
        # Jensen's inequality for both means: their loss is at most the mean loss of their members.
        member_loss = (shares[:, 0] * -members[:, torch.arange(40), net.labels]).sum(0)
        gaps += [
            (-mean[torch.arange(40), net.labels] - member_loss).max().item()
            for mean in (arithmetic_mean.log(), geometric[-1])
        ]
        variance = (shares * (members.exp() - arithmetic_mean).square()).sum(0)
        ratios += _monte_carlo(net, dropout.train(), arithmetic_mean, variance)
    yield exact(
        "softmax on one layer: weight scaling",
        f"the normalised geometric mean of all {len(masks):,} subnetworks (Baldi & Sadowski)",
        torch.stack(scaled),
        torch.stack(geometric),
    )
    yield exact(
        "weight scaling beside the arithmetic mean",
        "nearer to the subnetworks, in mean KL(it ‖ subnetwork), by KL(arithmetic mean ‖ weight scaling)",
        torch.stack(farther),
        torch.stack(divergences),
        tolerance=1e-10,
    )
    yield Check(
        "mean of all subnetworks: likelihood",
        "arithmetic and geometric: on no example below their members' (Jensen)",
        0.0,
        max(0.0, *gaps),
        1e-12,
        "nats",
    )
    yield statistical(
        "Monte-Carlo: mean squared error over k passes",
        "the exact variance of a subnetwork over k, k = 1, 10, 100: converging as 1/√k",
        ratios,
    )


def _monte_carlo(
    net: _Net, dropout: BernoulliDropout, mean: torch.Tensor, variance: torch.Tensor
) -> Iterator[float]:
    """Deviations of the squared error over k passes from the variance over k, for k = 1, 10, 100.

    ``mean`` and ``variance`` ``(examples, classes)`` are those of a subnetwork's probabilities. Deviations
    are in standard errors.
    """
    repeats = 200
    for passes in (1, 10, 100):
        draws = dropout(net.hidden.expand(repeats * passes, -1, -1).contiguous())
        probabilities = net.log_probabilities(draws).exp().view(repeats, passes, *mean.shape)
        averaged = log_mean([probabilities[:, k].log() for k in range(passes)]).exp()
        squared = passes * (averaged - mean).square().sum((1, 2)) / variance.sum()
        yield ((squared.mean() - 1) / (squared.std() / math.sqrt(repeats))).item()


def convention_checks() -> Iterator[Check]:
    """Check that weight scaling and inverted dropout are one function, and one trajectory of SGD.

    The outgoing weights of the inverted net are those of the other times 1 − p, their learning rate times
    (1 − p)².
    """
    outputs: dict[str, list[torch.Tensor]] = {"weight-scaling": [], "inverted": []}
    trained: dict[str, list[torch.Tensor]] = {"weight-scaling": [], "inverted": []}
    images, labels = normal(32, _INPUTS, seed=20), torch.arange(32) % _CLASSES
    for p in _P_DROPS:
        for convention in outputs:
            dropout = layer(p, convention, seed=21)
            inverted = convention == "inverted"
            first = normal(_INPUTS, _HIDDEN, seed=22).requires_grad_()
            factor = dropout.keep if inverted else 1.0
            second = (factor * normal(_HIDDEN, _CLASSES, seed=23)).requires_grad_()
            bias = normal(_CLASSES, seed=24).requires_grad_()

            def forward(
                dropout: BernoulliDropout = dropout,
                first: torch.Tensor = first,
                second: torch.Tensor = second,
                bias: torch.Tensor = bias,
            ) -> torch.Tensor:
                kept: torch.Tensor = dropout(torch.relu(images @ first))
                return kept @ second + bias

            outputs[convention].append(forward(dropout.eval()).detach())
            dropout.train()
            for _ in range(30):
                loss = F.cross_entropy(forward(), labels)
                gradients = torch.autograd.grad(loss, (first, second, bias))
                with torch.no_grad():
                    for parameter, gradient, rate in zip(
                        (first, second, bias), gradients, (0.1, 0.1 * factor**2, 0.1), strict=True
                    ):
                        parameter.sub_(rate * gradient)
            trained[convention].append(
                torch.cat([first.flatten(), (second / factor).flatten(), bias]).detach()
            )
    yield exact(
        "two conventions: one function",
        "equal at test, the outgoing weights of the inverted net times 1 − p",
        torch.stack(outputs["inverted"]),
        torch.stack(outputs["weight-scaling"]),
    )
    yield exact(
        "two conventions: one trajectory of SGD",
        "equal after 30 steps: outgoing weights × (1 − p) at the start, their learning rate × (1 − p)²",
        torch.stack(trained["inverted"]),
        torch.stack(trained["weight-scaling"]),
        tolerance=1e-10,
    )


def ridge_checks() -> Iterator[Check]:
    """Check that linear regression with input dropout is ridge regression (Srivastava et al. 2014, 9.1)."""
    inputs, targets = normal(50, 8, seed=30), normal(50, seed=31)
    masks = all_masks(8)
    losses, closed_forms, solutions, closed_solutions, deviations = [], [], [], [], []
    for p in _P_DROPS:
        dropout = layer(p, "weight-scaling", seed=32)
        keep = dropout.keep
        shares = mask_probabilities(masks, keep)
        gram = inputs.T @ inputs
        # Every example has its own mask: the expected loss is the sum over examples of the mean over masks.
        second_moment = torch.einsum("m,mi,mj->ij", shares, masks, masks) * gram
        solutions.append(torch.linalg.solve(second_moment, keep * inputs.T @ targets))
        ridge = keep * gram + (1 - keep) * gram.diag().diag()
        closed_solutions.append(torch.linalg.solve(ridge, inputs.T @ targets))
        weights = normal(8, seed=33)
        residuals = targets - torch.einsum("mi,ni,i->mn", masks, inputs, weights)
        losses.append((shares[:, None] * residuals.square()).sum())
        scaled = keep * weights
        penalty = (1 - keep) / keep * (gram.diag() * scaled.square()).sum()
        closed_forms.append((targets - inputs @ scaled).square().sum() + penalty)
        draws = dropout(inputs.expand(4000, -1, -1).contiguous())
        sampled = (targets - draws @ weights).square().sum(1)
        deviations.append(((sampled.mean() - closed_forms[-1]) / (sampled.std() / math.sqrt(4000))).item())
    yield exact(
        "linear regression: expected loss",
        "‖y − Xw̃‖² + p/(1 − p) ‖Γw̃‖², w̃ = (1 − p) w, over all 256 masks",
        torch.stack(losses),
        torch.stack(closed_forms),
    )
    yield exact(
        "linear regression: solution",
        "that of ridge regression",
        torch.stack(solutions),
        torch.stack(closed_solutions),
        tolerance=1e-9,
    )
    yield statistical("linear regression: sampled loss", "the closed form, by the layer itself", deviations)
