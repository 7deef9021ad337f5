"""A sweep: one run for every combination of the swept settings and every seed."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from dropbench.run.config import SETTINGS, RunConfig

PROBABILITIES = ("p_drop", "p_drop_input", "p_drop_conv")


def expand(
    fixed: Mapping[str, Any], swept: Mapping[str, Sequence[Any]], seeds: int = 1, baseline: bool = True
) -> list[RunConfig]:
    """The runs of a sweep, each once, all settings of a seed before the next seed.

    The same seeds serve every setting, so that runs can be compared in pairs; a sweep that is stopped early
    has whole seeds to show.

    Args:
        fixed: settings that all runs have, by their names.
        swept: the values of each setting that varies, by its name; all combinations are made.
        seeds: how many, from 0 on.
        baseline: add the net without any dropout to every combination of the others.

    Raises:
        UsageError: if a combination is no run.

    """
    p_names = [name for name in PROBABILITIES if name in swept]
    others = [name for name in SETTINGS if name in swept and name not in p_names]
    points = [dict(zip(p_names, values, strict=True)) for values in product(*(swept[n] for n in p_names))]
    if baseline:
        points.insert(0, dict.fromkeys(PROBABILITIES, 0.0))
    combinations = [dict(zip(others, values, strict=True)) for values in product(*(swept[n] for n in others))]
    found: dict[str, RunConfig] = {}
    for seed in range(seeds):
        for combination in combinations:
            base = RunConfig(**_with_cutoff(fixed, combination, swept), seed=seed)
            for point in points:
                run = base.replace(**point)
                found.setdefault(run.run_id, run)
    return list(found.values())


def _with_cutoff(
    fixed: Mapping[str, Any], combination: Mapping[str, Any], swept: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """Fixed settings and a combination; of several schedules, the cutoff epoch is for those that have one."""
    told = {**fixed, **combination}
    schedules = swept.get("dropout_schedule", ())
    if told.get("dropout_schedule") == "constant" and any(name != "constant" for name in schedules):
        told.pop("cutoff_epoch", None)
    return told
