"""The keywords of a call, sorted: settings of the runs, the machine, and the policy."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

from dropbench.catalog.objects import name_of
from dropbench.catalog.user_code import tidied
from dropbench.errors import UsageError, unknown_name
from dropbench.run.blocks.dropout import OF_LIBRARIES
from dropbench.run.config import SETTINGS, find_setting
from dropbench.run.machine import Machine, Policy

_MACHINE = tuple(each.name for each in fields(Machine))
_MADE_BY_CODE = ("model", "dropout")
_POLICY = tuple(each.name for each in fields(Policy))


@dataclass(frozen=True)
class Keywords:
    """The keywords of one call; ``settings`` has all values of each setting, by its name."""

    settings: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    policy: Policy = field(default_factory=Policy)
    began: float = field(default_factory=time.monotonic)
    """When the call began, by time.monotonic."""

    @property
    def deadline(self) -> float:
        """When the time limit of the call is over, by time.monotonic."""
        return self.began + self.machine.limit_seconds

    def single(self) -> dict[str, Any]:
        """The settings of one run; raises UsageError for a list."""
        for name, values in self.settings.items():
            if len(values) != 1:
                raise UsageError(
                    f"`{name}` has {len(values)} values.", "Write one here; a sweep takes lists."
                )
        return {name: value for name, (value,) in self.settings.items()}

    def check(self) -> None:
        """Raise UsageError for a value that is out of its range, whatever the others are."""
        for name, values in self.settings.items():
            for value in values:
                SETTINGS[name].check(SETTINGS[name].take(value))

    def of_source(self) -> dict[str, Any]:
        """The settings that say how data are made of their source; raises UsageError for a list."""
        return replace(
            self, settings={n: v for n, v in self.settings.items() if SETTINGS[n].of_source}
        ).single()

    def on(self, settings: Mapping[str, Any]) -> "Keywords":
        """The keywords with the settings of a data set."""
        return replace(
            self, settings={**self.settings, **{name: (value,) for name, value in settings.items()}}
        )

    def check_trials(self) -> None:
        """Raise UsageError for several values of a setting that a sweep tunes, where nothing is tuned."""
        for name, values in self.settings.items():
            if len(values) > 1 and SETTINGS[name].tuned:
                raise UsageError(
                    f"`{name}` has {len(values)} values.", "Write one here; dropbench sweep takes lists."
                )

    def swept(self) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        """The settings with one value, and those with several, with all that may have a list among these."""
        several = {
            name: values
            for name, values in self.settings.items()
            if len(values) > 1 or SETTINGS[name].parse is not None
        }
        return {n: values[0] for n, values in self.settings.items() if n not in several}, several


def sort_out(told: Mapping[str, Any], **defaults: Any) -> Keywords:
    """Sort the keywords of a call; None is as if it were not told.

    A number for ``dropout`` is the probability of dropping a hidden unit. Text is read as on the command
    line: ``p="0.1..0.8"``. ``defaults`` are the call's own, of settings by their names; that of p_drop is not
    meant where a probability of OF_LIBRARIES is told.

    Raises:
        UsageError: for a keyword that nothing knows, or a value that cannot be read.

    """
    settings: dict[str, tuple[Any, ...]] = {}
    machine: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    for name, value in told.items():
        if value is None:
            continue
        if name in _MACHINE:
            machine[name] = value
        elif name in _POLICY:
            policy[name] = value
        else:
            is_p = name == "dropout" and isinstance(value, Real)
            setting = "p_drop" if is_p else _setting(name)
            if setting in settings:
                raise UsageError(f"`{setting}` is told twice.", f"Leave out `{name}`.")
            settings[setting] = values_of(setting, value)
    if any(name in settings for name in OF_LIBRARIES):
        defaults.pop("p_drop", None)
    own = {name: values_of(name, value) for name, value in defaults.items() if name not in settings}
    return Keywords({**own, **settings}, Machine(**machine), Policy(**policy))


def values_of(name: str, value: Any) -> tuple[Any, ...]:
    """One or more values of a setting: text in the command line's grammar, a list, or the value itself.

    A function or a class that makes a model or a dropout becomes its name.
    """
    each = SETTINGS[name]
    if isinstance(value, str):
        found = tuple(each.parse(value, name)) if each.parse else (value,)
        return tuple(map(tidied, found)) if name in _MADE_BY_CODE else found
    if name in _MADE_BY_CODE and callable(value):
        return (name_of(value, name),)
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
    if not isinstance(value, Sequence | set | frozenset):
        return (each.take(value),)
    if each.type == tuple[int, ...] and all(isinstance(units, Real) for units in value):
        return (each.take(value),)
    return tuple(dict.fromkeys(one for part in value for one in values_of(name, part)))


def _setting(name: str) -> str:
    known = [name for name, each in SETTINGS.items() if each.flag]
    try:
        return find_setting(name).name
    except UsageError:
        raise unknown_name("keyword", name, ["p", *known, *_MACHINE, *_POLICY]) from None


def code_named(setting: str, value: Any) -> str | None:
    """The name of a ``model`` or a ``dropout`` that is told by its name, or by what makes it; None of None.

    Raises:
        UsageError: if several are told.

    """
    if value is None:
        return None
    (name,) = Keywords({setting: values_of(setting, value)}).single().values()
    return str(name)
