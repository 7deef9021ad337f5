"""A sweep: one run for every combination of the swept fields and every seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from dropbench.errors import UsageError
from dropbench.run.config import RunConfig


@dataclass(frozen=True)
class Grid:
    """The values of each swept field; the defaults sweep nothing. All p are probabilities of dropping."""

    p_drop: Sequence[float] = (0.0,)
    p_drop_input: Sequence[float] = (0.0,)
    p_drop_conv: Sequence[float] = (0.0,)
    train_size: Sequence[int | None] = (None,)
    layers: Sequence[tuple[int, ...]] = ()
    dropout: Sequence[str] = ()
    dropout_schedule: Sequence[str] = ()
    cutoff_epoch: int | None = None
    """For those of the schedules that have one."""
    seeds: int = 1
    baseline: bool = True
    """Add the net without any dropout, for every training size and every choice of layers."""


def expand(base: RunConfig, grid: Grid) -> list[RunConfig]:
    """The runs of ``grid`` around ``base``, each once, all settings of a seed before the next seed.

    The same seeds serve every setting, so that runs can be compared in pairs; a sweep that is stopped
    early has whole seeds to show.
    """
    configs: list[RunConfig] = []
    probabilities = list(product(grid.p_drop, grid.p_drop_input, grid.p_drop_conv))
    if grid.baseline:
        probabilities.insert(0, (0.0, 0.0, 0.0))
    layer_lists = grid.layers or (base.layers,)
    schedules = [
        (name, None if name == "constant" else grid.cutoff_epoch)
        for name in grid.dropout_schedule or (base.dropout_schedule,)
    ]
    if grid.cutoff_epoch is not None and all(cutoff is None for _, cutoff in schedules):
        raise UsageError("A constant schedule has no cutoff epoch.", "Add --schedule early, late or ramp.")
    for seed, layers, size, variant, (schedule, cutoff) in product(
        range(grid.seeds), layer_lists, grid.train_size, grid.dropout or (base.dropout,), schedules
    ):
        for p_drop, p_drop_input, p_drop_conv in probabilities:
            configs.append(
                replace(
                    base,
                    seed=seed,
                    layers=layers,
                    train_size=size,
                    dropout=variant,
                    dropout_schedule=schedule,
                    cutoff_epoch=cutoff,
                    p_drop=p_drop,
                    p_drop_input=p_drop_input,
                    p_drop_conv=p_drop_conv,
                )
            )
    return list({config.run_id: config for config in configs}.values())
