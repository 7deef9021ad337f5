"""From the flags to the arms of every repetition, and from those to runs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dropbench.catalog.arms import ARMS, BUDGETS, DEFAULT_ARMS, Arm, check_arms, reference_under
from dropbench.catalog.dropouts import variant_of
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig


@dataclass(frozen=True)
class ComparisonPlan:
    """What is compared: ``base`` has the probabilities and ``mc_samples`` of the dropout arms.

    ``narrow`` is what the width of members is multiplied by under the budget ``parameters``, and
    ``boosting_step`` what a step of boosting takes under the budget ``train``, in steps of dropout;
    dropbench.experiments.bagging.cost knows both, and under every other budget they are 1.
    """

    base: RunConfig
    members: int = 5
    seeds: int = 2
    arms: tuple[str, ...] = DEFAULT_ARMS
    budget: str = "members"
    narrow: float = 1.0
    boosting_step: float = 1.0
    foreign: str = ""
    """What the foreign images are called; empty for none."""
    ood_key: str = ""
    """What dropbench.datasets.ood.ood_images takes for them."""

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be compared."""
        if self.members < 1:
            raise UsageError(
                f"`members` is {self.members}.", "Write 1 or more; the lecture's question wants 5 or so."
            )
        BUDGETS.check(self.budget)
        object.__setattr__(self, "arms", check_arms(self.arms, self.reference))
        if self.base.without_dropout:
            raise UsageError(
                "With `p_drop=0` there is no dropout to compare.",
                "Write a probability of dropping, like 0.5.",
            )
        self.of_seed(0)  # a member that cannot be is said now

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return reference_under(self.budget)

    @property
    def setting(self) -> RunConfig:
        """The dropout net of seed 0, with the epochs of a member; it names the comparison."""
        # Noise of mean 1 needs no scaling: the net as it is, at test.
        convention = "weight-scaling" if variant_of(self.base.dropout.variant).scaled else "inverted"
        samples = self.members if self.budget == "inference" else self.base.dropout.mc_samples
        return self.base.replace(seed=0, convention=convention, mc_samples=samples)

    @property
    def experiment_id(self) -> str:
        """Twelve hexadecimal digits that name the comparison, whatever its arms and however many seeds."""
        identity = f"{self.setting.run_id} {self.members} {self.budget} {self.ood_key}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def all_arms(self) -> list["PlannedArm"]:
        """The arms of every repetition, all of one seed before the next."""
        return [arm for seed in range(self.seeds) for arm in self.of_seed(seed)]

    def of_seed(self, seed: int) -> list["PlannedArm"]:
        """The arms of one repetition."""
        return [
            PlannedArm(name, self.setting.replace(seed=seed), self, self._runs(ARMS[name], seed))
            for name in self.arms
        ]

    def _runs(self, kind: Arm, seed: int) -> tuple[RunConfig, ...]:
        net = self._longer(self.setting.replace(seed=seed))
        # A member that is the dropout arm's net, but for the Monte-Carlo passes after training, is that net.
        trained = net.replace(mc_samples=0)
        return tuple(net if run == trained else run for run in self._own_runs(kind, seed))

    def _own_runs(self, kind: Arm, seed: int) -> tuple[RunConfig, ...]:
        one = self.setting.replace(seed=seed, mc_samples=0)
        one = one.replace(**kind.changes)
        if not kind.drops:
            one = one.replace(p_drop=0.0, p_drop_input=0.0, p_drop_conv=0.0)
        if kind.many:
            one = one.replace(width=self.narrow * one.model.width)
            return tuple(one.replace(member=member) for member in range(self.members))
        one = self._longer(one)
        if kind.snapshots:
            one = one.replace(snapshots=self.members, width=self.narrow * one.model.width)
        return (one,)

    def _longer(self, run: RunConfig) -> RunConfig:
        """A net alone, which under the budget ``train`` takes the epochs of all members."""
        if self.budget != "train":
            return run
        times = self.members / (self.boosting_step if run.dropout.boosting else 1)
        cutoff = None if run.dropout.cutoff_epoch is None else max(1, round(times * run.dropout.cutoff_epoch))
        return run.replace(epochs=max(1, round(times * run.optimizer.epochs)), cutoff_epoch=cutoff)


@dataclass(frozen=True)
class PlannedArm:
    """One way to predict, in one repetition; ``setting`` is the plan's with the repetition's seed."""

    name: str
    setting: RunConfig
    plan: ComparisonPlan
    runs: tuple[RunConfig, ...]

    @property
    def kind(self) -> Arm:
        """What it is."""
        return ARMS[self.name]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of members it is read with: every one, or 1 where it has no members."""
        return tuple(range(1, 1 + (self.plan.members if self.kind.is_ensemble else 1)))

    def comparison_id(self, averaging: str, members: int, passes: int) -> str:
        """Twelve hexadecimal digits that name one average of this arm."""
        runs = " ".join(run.run_id for run in self.runs)
        identity = f"{self.plan.experiment_id} {self.name} {averaging} {members} {passes} {runs}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


def runs_of(arms: Sequence[PlannedArm]) -> list[RunConfig]:
    """The runs that the arms need, each once."""
    return list({run.run_id: run for arm in arms for run in arm.runs}.values())
