"""The arms of compare-bagging by name, and what it can hold equal between them.

Plain data, so that help texts and reports can tell of them without importing torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dropbench.errors import UsageError, unknown_name


@dataclass(frozen=True)
class ArmKind:
    """One way to predict. ``many``: with several nets, the members, each with weights of its own."""

    title: str
    phrase: str
    """In a sentence; ``{members}`` is their number."""
    many: bool = False
    drops: bool = False
    """Its nets are trained with dropout's noise."""
    bootstrap: bool = False
    """Each net trains on a bootstrap of its own, drawn once, duplicates kept."""
    thinned: bool = False
    """Each net has one mask for ever."""
    joint: bool = False
    """Trained for the likelihood of the averaged prediction."""
    monte_carlo: bool = False
    """Predicts by the mean of thinned nets."""
    snapshots: bool = False
    """Its members are states of one run."""

    @property
    def averages(self) -> bool:
        """Whether it can be read with more or fewer members."""
        return self.many or self.snapshots


ARMS = {
    "single": ArmKind("single net, no dropout", "a single net without dropout"),
    "dropout": ArmKind("dropout, weight scaling", "dropout read by weight scaling", drops=True),
    "dropout-mc": ArmKind(
        "dropout, Monte-Carlo", "dropout read by Monte-Carlo averaging", drops=True, monte_carlo=True
    ),
    "bagging": ArmKind("bagging", "bagging of {members}", many=True, bootstrap=True),
    "ensemble": ArmKind("ensemble, all data", "an ensemble of {members}", many=True),
    "dropout-ensemble": ArmKind(
        "ensemble of dropout nets", "an ensemble of {members} dropout nets", many=True, drops=True
    ),
    "bagged-dropout": ArmKind(
        "bagging of dropout nets", "bagging of {members} dropout nets", many=True, drops=True, bootstrap=True
    ),
    "untied": ArmKind(
        "thinned nets, untied",
        "an ensemble of {members} thinned nets that share no weights",
        many=True,
        drops=True,
        thinned=True,
    ),
    "boosting": ArmKind("dropout boosting", "dropout boosting", drops=True, joint=True),
    "snapshot": ArmKind(
        "snapshots of one run", "an ensemble of {members} snapshots of one run", snapshots=True
    ),
}
DEFAULT_ARMS = tuple(ARMS)[:6]
REFERENCE = "dropout"
"""The arm that all others are compared with."""

AVERAGINGS = ("arithmetic", "geometric")
"""How members' predictions are averaged; the first is what arms are compared by."""

LOSSES = ("error_percent", "nll", "nll_scaled", "brier")
"""What arms are compared in; each is a mean over test images, and lower is better."""

BUDGETS = {
    "members": "the number of members, each net trained alike",
    "train": "the training FLOPs: arms of one net train for as many times the epochs as there are members",
    "inference": "the forward passes per prediction: dropout averages one thinned net for each member",
    "parameters": "the number of parameters: members are narrower",
}


def reference_under(budget: str) -> str:
    """The arm that all others are compared with: dropout, read so that the budget can hold."""
    return "dropout-mc" if budget == "inference" else REFERENCE


def check_arms(names: Iterable[str], reference: str = REFERENCE) -> tuple[str, ...]:
    """The arms in their order, dropout and the reference among them.

    Raises:
        UsageError: for an unknown name, or if there is nothing to compare with the reference.

    """
    wanted = {name for name in names if name}
    for name in sorted(wanted - set(ARMS)):
        raise unknown_name("arm", name, ARMS)
    if not wanted - {reference}:
        raise UsageError(f"--arms names nothing to compare with {reference}.", f"Known: {', '.join(ARMS)}.")
    return tuple(name for name in ARMS if name in wanted | {REFERENCE, reference})
