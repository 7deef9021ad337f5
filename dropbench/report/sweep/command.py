"""The commands that make a sweep or a comparison again, from what its runs were told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dropbench.catalog.arms import ARMS, DEFAULT_ARMS
from dropbench.catalog.objects import is_of_session
from dropbench.catalog.optimizers import SGD
from dropbench.report.comparison.comparison import Comparison
from dropbench.report.sweep.sweep import AXES, EITHER, SETTING, Setting, Sweep, typed
from dropbench.run.config import SETTINGS
from dropbench.run.shell import command_line
from dropbench.run.telling import usual

# A command has one of these for all its runs.
_ONE_TO_A_COMMAND = tuple(axis for axis in AXES if SETTINGS[axis].flag and SETTINGS[axis].parse is None)


def sweep_commands(sweep: Sweep, *more: str) -> list[str]:
    """The ``dropbench sweep`` of all settings, or ``dropbench features``; several where one cannot tell all.

    They may have more runs than were done: a sweep takes every combination of its lists, and seeds from 0 on.
    """
    if instead := of_session([sweep.fields["model"], *_values(sweep.settings, "dropout")]):
        return [instead]
    return [
        command_line([*_sweep_command(replace(sweep, settings=tuple(group))), *more])
        for group in _of_one_command(sweep.settings)
    ]


def comparison_command(comparison: Comparison) -> str:
    """The ``dropbench compare-bagging`` of a comparison."""
    fields = comparison.fields
    values = typed(fields)
    if instead := of_session([values["model"], values["dropout"]]):
        return instead
    told = {name: [values[name]] for name in (*AXES, *SETTING) if name in values}
    command = ["dropbench", "compare-bagging", *setting_flags(told, "compare-bagging", values)]
    if comparison.arms != DEFAULT_ARMS:
        command += ["--arms", ",".join(arm for arm in ARMS if arm in comparison.arms)]
    command += ["--members", f"{fields['members']:.0f}", "--budget", fields["budget"]]
    if fields["mc_samples"]:
        command += ["--mc-samples", f"{fields['mc_samples']:.0f}"]
    command += ["--ood", fields["foreign"] or "none", "--seeds", str(comparison.seeds)]
    return command_line([*command, *where_flags(values)])


def of_session(names: Iterable[str]) -> str:
    """Return a sentence in place of a command that has code of a Python session; empty if it has none."""
    here = [name for name in names if is_of_session(name)]
    return f"# {here[0]} is of a Python session: its runs are made there." if here else ""


def _of_one_command(settings: Sequence[Setting]) -> list[list[Setting]]:
    """The settings in groups that agree in what a command has one of; what drops nothing joins them all."""
    groups: list[tuple[dict[str, Any], list[Setting]]] = []
    for setting in sorted(settings, key=lambda setting: setting.drops_nothing):
        values = typed(setting.axes)
        told = {
            axis: values[axis]
            for axis in _ONE_TO_A_COMMAND
            if values[axis] is not None and not (setting.drops_nothing and SETTINGS[axis].of_dropout)
        }
        agreeing = [
            group
            for group in groups
            if all(group[0].get(axis, value) == value for axis, value in told.items())
        ]
        for group in agreeing if setting.drops_nothing else agreeing[:1]:
            group[0].update(told)
            group[1].append(setting)
        if not agreeing:
            groups.append((told, [setting]))
    return [group for _, group in groups]


def _sweep_command(sweep: Sweep) -> list[str]:
    dropping = [setting for setting in sweep.settings if not setting.drops_nothing]
    fixed = typed(sweep.fields)
    name = "features" if sweep.reconstructs else "sweep"
    told = {axis: _values(dropping or sweep.settings, axis) for axis in AXES}
    told |= {name: [fixed[name]] if name in fixed else _tried(sweep, name) for name in SETTING}
    command = ["dropbench", name]
    if sweep.reconstructs:  # which has no baseline of its own
        told["p_drop"] = _values(sweep.settings, "p_drop")
        command += ["--units", values_text("layers", told["layers"])]
    elif dropping and len(dropping) == len(sweep.settings):
        command.append("--no-baseline")
    seeds = 1 + max((max(setting.run_ids, default=0) for setting in sweep.settings), default=0)
    flags = setting_flags(told, name, fixed)
    return [*command, *flags, "--seeds", str(seeds), *where_flags(fixed)]


def setting_flags(told: Mapping[str, Sequence[Any]], command: str, fixed: Mapping[str, Any]) -> Iterable[str]:
    """The flags of a command for the values of its settings, where they are not as usual; --p always."""
    optimizers = [value for value in told.get("optimizer", ()) if value] or [SGD]
    for name, values in told.items():
        each = SETTINGS[name]
        given = [value for value in values if value not in (None, EITHER) or (value is None and each.empty)]
        as_usual = all(given == [usual(name, fixed["model"], fixed["inputs"], of)] for of in optimizers)
        if not each.offered_by(command) or given in ([], [""]) or (as_usual and name != "p_drop"):
            continue
        yield each.flag
        if each.type is not bool:
            yield values_text(name, given if each.parse else given[:1])


def values_text(name: str, values: Sequence[Any]) -> str:
    """Values as the command line takes them."""
    each = SETTINGS[name]
    return (each.write or ",".join)([each.text(value) for value in values])


def where_flags(values: Mapping[str, Any]) -> list[str]:
    """The flags of the data and the precision."""
    return ["--data", values["data"], "--precision", values["precision"]]


def _tried(sweep: Sweep, name: str) -> list[Any]:
    """The values of a tuned setting that were tried."""
    return sweep.budget.values(name) if sweep.budget else []


def _values(settings: Sequence[Setting], axis: str) -> list[Any]:
    """The values of an axis, each once."""
    return list(dict.fromkeys(SETTINGS[axis].value(setting.axes[axis]) for setting in settings))
