"""The plan of a comparison: the arms of every repetition, and the runs that they need."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dropbench.catalog.arms import ARMS, BUDGETS, DEFAULT_ARMS, Arm, check_arms, reference_under
from dropbench.catalog.dropouts import variant_of
from dropbench.errors import UsageError
from dropbench.experiments.agenda import once
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison of ``arms`` over ``seeds`` repetitions, with a budget that is held equal.

    - ``base``: the net, with the drop probabilities and ``mc_samples`` of the arms with dropout.
    - ``members``: the number of nets in each arm that averages several.
    - ``narrow``: the factor of the members' width under the budget ``parameters``; 1 under any other.
    - ``boosting_step``: the cost of a step of dropout boosting under the budget ``train``, as a multiple of a
      step of dropout; 1 under any other. Both come from dropbench.experiments.bagging.cost.
    """

    base: RunConfig
    members: int = 5
    seeds: int = 2
    arms: tuple[str, ...] = DEFAULT_ARMS
    budget: str = "members"
    narrow: float = 1.0
    boosting_step: float = 1.0
    ood: str = ""
    """The user's name for the out-of-distribution images; empty for none."""
    ood_key: str = ""
    """The argument of dropbench.datasets.ood.ood_images for these images; empty for none."""

    def __post_init__(self) -> None:
        """Raise UsageError for a plan that cannot be carried out."""
        if self.members < 1:
            raise UsageError(
                f"`members={self.members}` is too small.", "Choose 1 or more; the lecture suggests about 5."
            )
        BUDGETS.check(self.budget)
        if self.budget == "train" and self.base.optimizer.patience is not None:
            raise UsageError(
                "With a patience each net trains as long as it needs, so that no training is held equal.",
                "Leave out `patience`, or take another `budget`.",
            )
        object.__setattr__(self, "arms", check_arms(self.arms, self.reference))
        if self.base.without_dropout:
            raise UsageError(
                "With `p_drop=0` there is no dropout to compare.",
                "Choose a drop probability above 0, such as `p_drop=0.5`.",
            )
        self.of_seed(0)  # a member with impossible settings is refused now, not after hours of training

    @property
    def reference(self) -> str:
        """The name of the arm that the others are compared with."""
        return reference_under(self.budget)

    @property
    def setting(self) -> RunConfig:
        """The dropout net of seed 0 with a member's epochs; all arms and the experiment_id derive from it."""
        # Variants whose noise has mean 1 are not scaled at test, so there is no weight scaling to choose.
        convention = "weight-scaling" if variant_of(self.base.dropout.variant).scaled else "inverted"
        samples = self.members if self.budget == "inference" else self.base.dropout.mc_samples
        return self.base.replace(seed=0, convention=convention, mc_samples=samples)

    @property
    def experiment_id(self) -> str:
        """Twelve hexadecimal digits that identify the comparison, whatever its arms and number of seeds."""
        identity = f"{self.setting.run_id} {self.members} {self.budget} {self.ood_key}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def all_arms(self) -> list["PlannedArm"]:
        """The arms of every repetition, seed by seed."""
        return [arm for seed in range(self.seeds) for arm in self.of_seed(seed)]

    def of_seed(self, seed: int) -> list["PlannedArm"]:
        """The arms of the repetition with this seed."""
        return [
            PlannedArm(name, self.setting.replace(seed=seed), self, self._runs(ARMS[name], seed))
            for name in self.arms
        ]

    def _runs(self, kind: Arm, seed: int) -> tuple[RunConfig, ...]:
        dropout = self._with_budget_epochs(self.setting.replace(seed=seed))
        # A member may differ from the dropout arm's net only in the Monte-Carlo passes after training. Then
        # that net serves as the member, so that it is trained once.
        without_passes = dropout.replace(mc_samples=0)
        return tuple(dropout if run == without_passes else run for run in self._own_runs(kind, seed))

    def _own_runs(self, kind: Arm, seed: int) -> tuple[RunConfig, ...]:
        one = self.setting.replace(seed=seed, mc_samples=0)
        one = one.replace(**kind.changes)
        if not kind.drops:
            one = one.replace(**dict.fromkeys(PROBABILITIES.values(), 0.0))
        if kind.is_ensemble:
            one = one.replace(width=self.narrow * one.model.width)
        return nets_of(kind, one if kind.many else self._with_budget_epochs(one), self.members)

    def _with_budget_epochs(self, run: RunConfig) -> RunConfig:
        """The run of a single net, which under the budget ``train`` gets the epochs of all members together.

        Their number is divided by ``boosting_step`` for dropout boosting, whose steps cost more. The cutoff
        epoch of a dropout schedule moves in proportion.
        """
        if self.budget != "train":
            return run
        times = self.members / (self.boosting_step if run.dropout.boosting else 1)
        cutoff = None if run.dropout.cutoff_epoch is None else max(1, round(times * run.dropout.cutoff_epoch))
        return run.replace(epochs=max(1, round(times * run.optimizer.epochs)), cutoff_epoch=cutoff)


@dataclass(frozen=True)
class PlannedArm:
    """An arm in one repetition, with the runs that it needs; ``setting`` is the plan's with that seed."""

    name: str
    setting: RunConfig
    plan: ComparisonPlan
    runs: tuple[RunConfig, ...]

    @property
    def kind(self) -> Arm:
        """The arm's entry in the catalog."""
        return ARMS[self.name]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of members that are averaged, from 1 to all; only 1 for an arm of one net."""
        return tuple(range(1, 1 + (self.plan.members if self.kind.is_ensemble else 1)))

    def comparison_id(self, averaging: str, members: int, passes: int) -> str:
        """Twelve hexadecimal digits that identify one average of this arm."""
        runs = " ".join(run.run_id for run in self.runs)
        identity = f"{self.plan.experiment_id} {self.name} {averaging} {members} {passes} {runs}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


def nets_of(kind: Arm, one: RunConfig, members: int) -> tuple[RunConfig, ...]:
    """The runs of an arm of so many members, each like ``one``; the snapshots are all of one run."""
    if kind.snapshots:
        return (one.replace(snapshots=members),)
    return tuple(one.replace(member=member) for member in range(members)) if kind.many else (one,)


def runs_of(arms: Sequence[PlannedArm]) -> list[RunConfig]:
    """The runs that the arms need; a run that arms share is listed once."""
    return once(run for arm in arms for run in arm.runs)
