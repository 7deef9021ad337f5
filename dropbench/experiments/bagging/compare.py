"""Carrying out a comparison: the runs that are not done yet, then a row for every arm."""

from collections.abc import Sequence
from typing import Any

import torch

from dropbench.engine.evaluate import from_kept, metrics
from dropbench.experiments.bagging.averaging import log_mean
from dropbench.experiments.bagging.plan import Arm, runs_of
from dropbench.experiments.workbench import Outcome, Policy, Watcher, Workbench, carry_out
from dropbench.results.predictions import load
from dropbench.results.schema import SCHEMA_VERSION
from dropbench.results.store import Store


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
    for arm in arms:
        store.append_comparison(_row(arm, finished, store))
    return outcome


def _row(arm: Arm, finished: dict[str, dict[str, Any]], store: Store) -> dict[str, Any]:
    row = {
        "comparison_id": arm.comparison_id("arithmetic", len(arm.runs), 1),
        "schema_version": SCHEMA_VERSION,
        "arm": arm.name,
        "members": arm.plan.members,
        **arm.setting.row(),
        "member_run_ids": " ".join(run.run_id for run in arm.runs),
    }
    missing = [run.run_id for run in arm.runs if run.run_id not in finished]
    if missing:
        return {**row, "message": f"{len(missing)} of {len(arm.runs)} runs did not end ok"}
    kept = [load(store.folder, run.run_id) for run in arm.runs]
    name = "test_mc" if arm.kind.monte_carlo else "test"
    averaged = log_mean([from_kept(p[name][-1] if arm.kind.monte_carlo else p[name]) for p in kept])
    measured = metrics(averaged, torch.from_numpy(kept[0]["test_labels"]))
    return {
        **row,
        **{f"test_{key}": value for key, value in measured.items()},
        "train_seconds": sum(finished[run.run_id]["train_seconds"] for run in arm.runs),
        "parameters": int(sum(finished[run.run_id]["parameters"] for run in arm.runs)),
        "passes_per_prediction": arm.setting.mc_samples if arm.kind.monte_carlo else len(arm.runs),
    }
