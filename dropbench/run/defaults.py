"""The one place where a default is put in: the model's, or one that depends on other settings."""

from collections.abc import Mapping
from typing import Any

from dropbench.catalog.models import MODEL_OF, recipe_of
from dropbench.run.blocks.optimizer import CONSTANT
from dropbench.run.setting import Declaration


def resolve(told: Mapping[str, Any], settings: Mapping[str, Declaration]) -> dict[str, Any]:
    """Every setting by its name: what was told, else the model's, else the default of today.

    Raises:
        UsageError: for an unknown model.

    """
    inputs = told.get("inputs", settings["inputs"].default)
    told = {"model": MODEL_OF.get(inputs, settings["model"].default), **told}
    recipe = recipe_of(told["model"])
    optimizer = told.get("optimizer", settings["optimizer"].default)
    values = {
        name: told.get(name, recipe.default(name, inputs, optimizer) if each.from_recipe else each.untold)
        for name, each in settings.items()
    }
    if values["patience"] is not None and "learning_rate_schedule" not in told:
        values["learning_rate_schedule"] = CONSTANT  # the others fall with the epochs that there are at most
    if values["cutoff_epoch"] is None:
        values["cutoff_epoch"] = _cutoff_epoch(values["dropout_schedule"], values["epochs"])
    return values


def _cutoff_epoch(schedule: str, epochs: int) -> int | None:
    """Half of the epochs, the last one for a ramp; none where the schedule has none."""
    if schedule in ("early", "late"):
        return max(1, epochs // 2)
    return epochs if schedule == "ramp" else None
