"""A sweep: one run for every combination of the swept settings and every seed."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from dropbench.catalog.dropouts import variant_of
from dropbench.kernels.draws import chance_of
from dropbench.run.blocks import dropout
from dropbench.run.config import SETTINGS, RunConfig

_log = logging.getLogger(__name__)
PROBABILITIES = tuple(dropout.PROBABILITIES.values())


def expand(
    fixed: Mapping[str, Any], swept: Mapping[str, Sequence[Any]], seeds: int = 1, baseline: bool = True
) -> list[RunConfig]:
    """The runs of a sweep: all combinations of one seed, then those of the next; duplicates are left out.

    Every combination has the same seeds, so that runs can be compared in pairs. A sweep that is stopped early
    has complete seeds to report.

    Values of p that give masks of the same probability are one setting, the first of them; a warning names
    both.

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
    return _without_equal_masks(found.values())


def _without_equal_masks(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """The runs without those that are the same to the last bit as one before them, which are logged."""
    found: dict[tuple[Any, ...], RunConfig] = {}
    equal: dict[tuple[str, float, float], None] = {}
    for run in runs:
        values = run.settings()
        # On a ramp, and in the widths of layers, values as near as these need not round to the same.
        rounded = variant_of(run.dropout.variant).in_chances and run.dropout.schedule != "ramp"
        chances = {
            name: chance_of(values[name]) for name in PROBABILITIES if rounded and not run.dropout.widened
        }
        other = found.setdefault(tuple({**values, **chances}.values()), run)
        if other is not run:
            before = other.settings()
            differing = (name for name in PROBABILITIES if values[name] != before[name])
            equal |= dict.fromkeys((name, before[name], values[name]) for name in differing)
    for name, first, second in equal:
        _log.warning(
            f"`{name}`: {first:.12g} and {second:.12g} are one setting, {first:.12g}: "
            f"the masks of both drop with probability {chance_of(first).probability:.12g}."
        )
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
