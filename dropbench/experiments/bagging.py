"""compare-bagging: one net, dropout in two readings, bagging, and an ensemble, side by side.

Members are ordinary runs in the store; an arm is a reduction of their predictions.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from dropbench.config import RunConfig
from dropbench.engine.evaluate import metrics
from dropbench.errors import UsageError
from dropbench.experiments.workbench import Outcome, Policy, Watcher, Workbench, carry_out
from dropbench.results.predictions import load
from dropbench.results.schema import SCHEMA_VERSION
from dropbench.results.store import Store
from dropbench.variants import variant_of


@dataclass(frozen=True)
class Arm:
    """One way to predict: the mean probability of ``runs``, of their ``prediction`` (test or test_mc).

    ``setting`` is the comparison's dropout config with this repetition's seed; it names the comparison.
    """

    name: str
    setting: RunConfig
    members: int
    runs: tuple[RunConfig, ...]
    passes_per_prediction: int
    prediction: str = "test"

    @property
    def comparison_id(self) -> str:
        """Twelve hexadecimal digits that name this arm of this repetition."""
        identity = f"{self.name} {self.members} {' '.join(run.run_id for run in self.runs)}"
        return hashlib.sha256(f"{identity} of {self.setting.run_id}".encode()).hexdigest()[:12]


def plan(dropout: RunConfig, members: int, seeds: int) -> list[Arm]:
    """The arms of every repetition. ``dropout`` has the probabilities and ``mc_samples`` of the dropout arms.

    Bagging's members each train on their own bootstrap of the training split, drawn once, duplicates
    kept; the ensemble's on all of it, and its first member is the single net.

    Raises:
        UsageError: for less than one member, or a dropout config that drops nothing.

    """
    if members < 1:
        raise UsageError(f"--members {members}.", "Write 1 or more; the lecture's question wants 5 or so.")
    if dropout.is_reference:
        raise UsageError(
            "With --p 0 there is no dropout to compare.", "Write a probability of dropping, like --p 0.5."
        )
    arms = []
    for seed in range(seeds):
        # Noise of mean 1 needs no scaling: the net as it is, at test.
        convention = "weight-scaling" if variant_of(dropout.dropout).scaled else "inverted"
        setting = replace(dropout, seed=seed, convention=convention)
        plain = replace(setting, p_drop=0.0, p_drop_input=0.0, p_drop_conv=0.0, mc_samples=0)
        full = tuple(replace(plain, member=member) for member in range(members))
        bagged = tuple(replace(config, bootstrap=True) for config in full)
        arms += [
            Arm("single", setting, members, full[:1], 1),
            Arm("dropout", setting, members, (setting,), 1),
            Arm("dropout-mc", setting, members, (setting,), dropout.mc_samples, "test_mc"),
            Arm("bagging", setting, members, bagged, members),
            Arm("ensemble", setting, members, full, members),
        ]
    return arms


def runs_of(arms: Sequence[Arm]) -> list[RunConfig]:
    """The runs that the arms need, each once."""
    return list({run.run_id: run for arm in arms for run in arm.runs}.values())


def compare(
    arms: Sequence[Arm],
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    policy: Policy = Policy(),  # noqa: B008  # frozen
) -> Outcome:
    """Carry out what is not done yet, then write a row for each arm and repetition that has none."""
    outcome = carry_out(runs_of(arms), bench, store, watcher, policy, with_predictions=True)
    finished = store.finished()
    compared, done_now = store.compared(), {result.config.run_id for result in outcome.ok}
    for arm in arms:
        # Of a run that was done again, --force say, the old row is no longer true.
        if arm.comparison_id not in compared or any(run.run_id in done_now for run in arm.runs):
            store.append_comparison(_row(arm, finished, store))
    return outcome


def mean_log_probability(members: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log of the arithmetic mean of probabilities, from log-probabilities ``(examples, classes)`` each.

    The mean of one is that one, to the last bit.
    """
    if len(members) == 1:
        return members[0]
    return torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))


def _row(arm: Arm, finished: dict[str, dict[str, Any]], store: Store) -> dict[str, Any]:
    row = {
        "comparison_id": arm.comparison_id,
        "schema_version": SCHEMA_VERSION,
        "arm": arm.name,
        "members": arm.members,
        **arm.setting.row(),
        "member_run_ids": " ".join(run.run_id for run in arm.runs),
    }
    missing = [run.run_id for run in arm.runs if run.run_id not in finished]
    if missing:  # an average of the others would not be what the arm's name says
        return {**row, "message": f"{len(missing)} of {len(arm.runs)} runs did not end ok"}
    predictions = [load(store.folder, run.run_id) for run in arm.runs]
    averaged = mean_log_probability([torch.from_numpy(p[arm.prediction]) for p in predictions])
    measured = metrics(averaged, torch.from_numpy(predictions[0]["test_labels"]))
    return {
        **row,
        **{f"test_{name}": value for name, value in measured.items()},
        "train_seconds": sum(finished[run.run_id]["train_seconds"] for run in arm.runs),
        "parameters": int(sum(finished[run.run_id]["parameters"] for run in arm.runs)),
        "passes_per_prediction": arm.passes_per_prediction,
    }
