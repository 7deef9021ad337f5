"""A sweep: one run for every combination of the swept settings and every seed."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from dropbench.run.config import SETTINGS, RunConfig

PROBABILITIES = ("p_drop", "p_drop_input", "p_drop_conv")


def expand(
    fixed: Mapping[str, Any], swept: Mapping[str, Sequence[Any]], seeds: int = 1, baseline: bool = True
) -> list[RunConfig]:
    """The runs of a sweep: all combinations of one seed, then those of the next; duplicates are left out.

    Every combination has the same seeds, so that runs can be compared in pairs. A sweep that is stopped early
    has complete seeds to report.

    Args:
        fixed: settings that all runs share, by name.
        swept: the values of each setting that varies, by name; every combination becomes a run.
        seeds: the number of seeds, counted from 0.
        baseline: add the net without dropout to every combination of the settings that are no drop
            probabilities.

    Raises:
        UsageError: if a combination of settings is not valid.

    """
    p_names = [name for name in PROBABILITIES if name in swept]
    others = [name for name in SETTINGS if name in swept and name not in p_names]
    probabilities = _combinations(swept, p_names)
    if baseline:
        probabilities.insert(0, dict.fromkeys(PROBABILITIES, 0.0))
    found: dict[str, RunConfig] = {}
    for seed in range(seeds):
        for combination in _combinations(swept, others):
            base = RunConfig(**_with_cutoff(fixed, combination, swept), seed=seed)
            for p_values in probabilities:
                run = base.replace(**p_values)
                found.setdefault(run.run_id, run)
    return list(found.values())


def _combinations(swept: Mapping[str, Sequence[Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every combination of the swept values of the named settings."""
    return [dict(zip(names, values, strict=True)) for values in product(*(swept[name] for name in names))]


def _with_cutoff(
    fixed: Mapping[str, Any], combination: Mapping[str, Any], swept: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """The settings of one combination.

    Where several schedules are swept, ``cutoff_epoch`` is meant for those that have one, so it is dropped for
    a constant schedule, which would refuse it.
    """
    settings = {**fixed, **combination}
    schedules = swept.get("dropout_schedule", ())
    if settings.get("dropout_schedule") == "constant" and any(name != "constant" for name in schedules):
        settings.pop("cutoff_epoch", None)
    return settings
