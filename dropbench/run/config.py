"""RunConfig: the whole identity of one training run, in blocks, and the short hash that names it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from dropbench.errors import unknown_name
from dropbench.run.blocks.model import CORRECTED, HE
from dropbench.run.blocks.together import Blocks
from dropbench.run.defaults import resolve
from dropbench.run.rules import RULES
from dropbench.run.setting import Declaration, settings_of

BLOCKS: dict[str, Any] = {each.name: each.type for each in fields(Blocks)}
SETTINGS: dict[str, Declaration] = {
    each.name: each for block in BLOCKS.values() for each in settings_of(block)
}
"""Every setting of a run by its name, in the order of the columns of runs.csv."""


def find_setting(name: str) -> Declaration:
    """The setting with this name or this flag: ``p_drop_input``, or ``p_input``.

    Raises:
        UsageError: if there is none; it suggests the nearest.

    """
    flag = f"--{name.replace('_', '-')}"
    found = SETTINGS.get(name) or next((each for each in SETTINGS.values() if each.flag == flag), None)
    if found is None:
        raise unknown_name("setting of a run", name, SETTINGS)
    return found


def _named(told: Mapping[str, Any]) -> Iterator[tuple[Declaration, Any]]:
    return ((find_setting(name), value) for name, value in told.items())


@dataclass(frozen=True, init=False, repr=False)
class RunConfig(Blocks):
    """Everything that changes the numbers of a run, and nothing else (not the device, threads, folders).

    Made from settings by their names, ``RunConfig(model="mlp", p_drop=0.5)``; what is not told, or told as
    None, has its default, which may be the model's. Two configs are equal if all their settings are.

    Raises:
        UsageError: for an unknown name, or for a value that is out of its range or does not fit the others.

    """

    told: Mapping[str, Any] = field(compare=False)
    """The settings that it was made from; ``replace`` resolves the defaults of all others anew."""

    def __init__(self, **told: Any) -> None:
        known = {each.name: each.take(value) for each, value in _named(told) if value is not None}
        values = resolve(known, SETTINGS)
        for name, block in BLOCKS.items():
            own = {each.attribute: values[each.name] for each in settings_of(block)}
            object.__setattr__(self, name, block(**own))
        object.__setattr__(self, "told", known)
        for rule in RULES:
            rule(self)

    def __repr__(self) -> str:
        """Show the settings that it was made from."""
        return f"RunConfig({', '.join(f'{name}={value!r}' for name, value in self.told.items())})"

    def replace(self, **changes: Any) -> "RunConfig":
        """The config with other settings; a default that depends on them is that of the new ones.

        None takes a setting back to its default.
        """
        return RunConfig(**{**self.told, **{each.name: value for each, value in _named(changes)}})

    def settings(self) -> dict[str, Any]:
        """Every setting by its name, defaults resolved."""
        return {
            each.name: getattr(block, each.attribute)
            for name, kind in BLOCKS.items()
            for block in [getattr(self, name)]
            for each in settings_of(kind)
        }

    def identity(self) -> dict[str, Any]:
        """The settings that name the run.

        One at its default is left out, so that a setting added later changes no recorded run_id; therefore
        a declared default may never change. With nothing dropped, all variants, conventions and schedules
        are the same run, and there is nothing to correct the initial weights for. The same data under
        another name are the same, too.
        """
        values = self.settings()
        if self.without_dropout and self.model.init == CORRECTED:
            values["init"] = HE
        return {
            name: value
            for name, value in values.items()
            if value != SETTINGS[name].default
            and not (SETTINGS[name].of_source and self.data.key)
            and not (SETTINGS[name].of_dropout and self.without_dropout)
        }

    @cached_property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the identity's canonical JSON."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def row(self) -> dict[str, Any]:
        """The settings as CSV cells: None is empty, layers are joined by commas, p_keep stands by p_drop."""
        cells: dict[str, Any] = {}
        for name, value in self.settings().items():
            cells[name] = SETTINGS[name].cell(value)
            if name == "p_drop":
                cells["p_keep"] = self.dropout.p_keep
        return cells
