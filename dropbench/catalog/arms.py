"""The arms of compare-bagging by name, and what it can hold equal between them.

Plain data, so that help texts and reports can tell of them without importing torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dropbench.catalog.registry import Registry
from dropbench.errors import UsageError


@dataclass(frozen=True)
class Arm:
    """One way to predict; ``many`` averages several nets, the members, each with weights of its own."""

    title: str
    phrase: str
    """Names it in a sentence; ``{members}`` is the number of members."""
    many: bool = False
    drops: bool = False
    """Its nets are trained with dropout."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a run in which its nets differ from the dropout arm's."""
    monte_carlo: bool = False
    """Predicts by the mean of passes with fresh masks."""
    snapshots: bool = False
    """Its members are states of one run."""

    @property
    def is_ensemble(self) -> bool:
        """Whether it can be taken with more or fewer members."""
        return self.many or self.snapshots

    @property
    def bootstraps(self) -> bool:
        """Whether each member trains on a bootstrap of its own."""
        return bool(self.changes.get("bootstrap"))


ARMS = Registry(
    "arm",
    {
        "single": Arm("single net, no dropout", "a single net without dropout"),
        "dropout": Arm("dropout, weight scaling", "dropout read by weight scaling", drops=True),
        "dropout-mc": Arm(
            "dropout, Monte-Carlo", "dropout read by Monte-Carlo averaging", drops=True, monte_carlo=True
        ),
        "bagging": Arm("bagging", "bagging of {members}", many=True, changes={"bootstrap": True}),
        "ensemble": Arm("ensemble, all data", "an ensemble of {members}", many=True),
        "dropout-ensemble": Arm(
            "ensemble of dropout nets", "an ensemble of {members} dropout nets", many=True, drops=True
        ),
        "bagged-dropout": Arm(
            "bagging of dropout nets",
            "bagging of {members} dropout nets",
            many=True,
            drops=True,
            changes={"bootstrap": True},
        ),
        "untied": Arm(
            "thinned nets, untied",
            "an ensemble of {members} thinned nets that share no weights",
            many=True,
            drops=True,
            changes={"thinned": True},
        ),
        "boosting": Arm("dropout boosting", "dropout boosting", drops=True, changes={"joint": True}),
        "snapshot": Arm(
            "snapshots of one run", "an ensemble of {members} snapshots of one run", snapshots=True
        ),
    },
)
DEFAULT_ARMS = tuple(ARMS)[:6]
REFERENCE = "dropout"
"""The arm that all others are compared with."""

AVERAGINGS = ("arithmetic", "geometric")
"""How members' predictions are averaged; the first is what arms are compared by."""

LOSSES = ("error_percent", "nll", "nll_scaled", "brier")
"""What arms are compared in; each is a mean over test images, and lower is better."""

BUDGETS = Registry(
    "budget",
    {
        "members": "the number of members, each net trained alike",
        "train": "the training FLOPs: an arm of one net trains for all members' epochs together",
        "inference": "the forward passes per prediction: dropout averages one thinned net for each member",
        "parameters": "the number of parameters: members are narrower",
    },
)


def reference_under(budget: str) -> str:
    """The arm that all others are compared with: dropout, read so that the budget can hold."""
    return "dropout-mc" if budget == "inference" else REFERENCE


def check_arms(names: Iterable[str], reference: str = REFERENCE) -> tuple[str, ...]:
    """The arms in their order, dropout and the reference among them.

    Raises:
        UsageError: for an unknown name, or if there is nothing to compare with the reference.

    """
    wanted = {name for name in names if name}
    for name in sorted(wanted):
        ARMS.check(name)
    if not wanted - {reference}:
        raise UsageError(f"`arms` names nothing to compare with {reference}.", f"Known: {', '.join(ARMS)}.")
    return tuple(name for name in ARMS if name in wanted | {REFERENCE, reference})
