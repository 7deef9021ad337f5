"""The arms of compare-bagging by name, and the budgets that can be held equal between them.

This is plain data, so that help texts and reports can describe it without importing torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dropbench.catalog.registry import Registry
from dropbench.errors import UsageError


@dataclass(frozen=True)
class Arm:
    """One of the compared ways to train and predict.

    ``many`` means that it averages several nets, the members, that are trained separately.
    """

    title: str
    phrase: str
    """Name to use within a sentence; ``{members}`` stands for the number of members."""
    many: bool = False
    drops: bool = False
    """Its nets are trained with dropout."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings in which the runs of its nets differ from the run of the dropout arm."""
    monte_carlo: bool = False
    """Predicts by Monte-Carlo dropout: the mean of several passes, each with a new mask."""
    snapshots: bool = False
    """Its members are the states of one run at the ends of its learning-rate cycles."""

    @property
    def is_ensemble(self) -> bool:
        """Whether it has members, whose number can vary."""
        return self.many or self.snapshots

    @property
    def bootstraps(self) -> bool:
        """Whether each member trains on its own bootstrap of the training images."""
        return bool(self.changes.get("bootstrap"))


ARMS = Registry(
    "arm",
    {
        "single": Arm("single net, no dropout", "a single net without dropout"),
        "dropout": Arm("dropout, weight scaling", "dropout with weight scaling", drops=True),
        "dropout-mc": Arm(
            "dropout, Monte-Carlo", "dropout with Monte-Carlo averaging", drops=True, monte_carlo=True
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
"""The arm that all others are compared with; see also reference_under."""

AVERAGINGS = ("arithmetic", "geometric")
"""Ways to average the members' predictions; arms are compared by the first."""

_LOSSES = {  # by the task of a run's data; see dropbench.run.blocks.data, which stands above
    "classification": ("error_percent", "nll", "nll_scaled", "brier"),
    "regression": ("rmse", "nll", "nll_scaled"),
}
ROOTS = frozenset({"rmse"})
"""The losses that are the root of a mean over the test examples; all others are the mean itself."""

BUDGETS = Registry(
    "budget",
    {
        "members": "the number of members, each net trained alike",
        "train": "the training FLOPs: an arm of one net trains for all members' epochs together",
        "inference": "the forward passes per prediction: Monte-Carlo dropout makes one for each member",
        "parameters": "the number of parameters: members are narrower",
    },
)


def losses_of(task: str) -> tuple[str, ...]:
    """Return the losses that the arms are compared in, for a task of a data set; lower is better.

    The first is the one of the headline.
    """
    return _LOSSES[task]


def reference_under(budget: str) -> str:
    """Return the reference arm: Monte-Carlo dropout if forward passes are held equal, else dropout."""
    return "dropout-mc" if budget == "inference" else REFERENCE


def check_arms(names: Iterable[str], reference: str = REFERENCE) -> tuple[str, ...]:
    """Return the named arms in the order of ARMS, with dropout and the reference added.

    Raises:
        UsageError: if a name is unknown, or if only the reference is named.

    """
    wanted = {name for name in names if name}
    for name in sorted(wanted):
        ARMS.check(name)
    if not wanted - {reference}:
        raise UsageError(
            f"`arms` names nothing to compare with the reference {reference}.", f"Known: {', '.join(ARMS)}."
        )
    return tuple(name for name in ARMS if name in wanted | {REFERENCE, reference})
