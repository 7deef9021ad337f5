"""The keywords of a call, sorted: settings of the runs, the machine, and the policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

from dropbench.errors import UsageError, unknown_name
from dropbench.run.config import SETTINGS, find_setting
from dropbench.run.machine import Machine, Policy

_MACHINE = {each.name for each in fields(Machine)}
_POLICY = {each.name for each in fields(Policy)}


@dataclass(frozen=True)
class Keywords:
    """The keywords of one call; ``settings`` has all values of each setting, by its name."""

    settings: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    policy: Policy = field(default_factory=Policy)

    def single(self) -> dict[str, Any]:
        """The settings of one run; raises UsageError for a list."""
        for name, values in self.settings.items():
            if len(values) != 1:
                raise UsageError(
                    f"`{name}` has {len(values)} values.", "Write one here; a sweep takes lists."
                )
        return {name: value for name, (value,) in self.settings.items()}

    def swept(self) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
        """The settings with one value, and those with several, with all the probabilities among these."""
        several = {
            name: values
            for name, values in self.settings.items()
            if len(values) > 1 or SETTINGS[name].parse is not None
        }
        return {n: values[0] for n, values in self.settings.items() if n not in several}, several


def sort_out(told: Mapping[str, Any]) -> Keywords:
    """Sort the keywords of a call; None is as if it were not told.

    A number for ``dropout`` is the probability of dropping a hidden unit. Text is read as on the command
    line: ``p="0.1..0.8"``.

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
        elif name == "dropout" and isinstance(value, Real):
            settings["p_drop"] = values_of("p_drop", value)
        else:
            settings[_setting(name)] = values_of(_setting(name), value)
    return Keywords(settings, Machine(**machine), Policy(**policy))


def values_of(name: str, value: Any) -> tuple[Any, ...]:
    """One or more values of a setting: text in the command line's grammar, a list, or the value itself."""
    each = SETTINGS[name]
    if isinstance(value, str):
        return tuple(each.parse(value, name)) if each.parse else (value,)
    if each.type == tuple[int, ...]:
        several = not all(isinstance(units, Real) for units in value)
        return tuple(tuple(layers) for layers in value) if several else (tuple(value),)
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
    if isinstance(value, Sequence | range | set | frozenset):
        return tuple(dict.fromkeys(value))
    return (value,)


def _setting(name: str) -> str:
    known = sorted({*SETTINGS, *_MACHINE, *_POLICY, "p"})
    try:
        return find_setting(name).name
    except UsageError:
        raise unknown_name("keyword", name, known) from None
