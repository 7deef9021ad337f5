"""The command that makes a sweep or a comparison again, from what its runs were told."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dropbench.catalog.arms import ARMS, DEFAULT_ARMS
from dropbench.catalog.models import recipe_of
from dropbench.catalog.own_code import is_own
from dropbench.report.comparison.comparison import Comparison
from dropbench.report.sweep.sweep import AXES, USUAL, Setting, Sweep, axis_text, sortable

_OF_RECIPE = ("epochs", "batch_size", "learning_rate", "learning_rate_schedule", "momentum", "weight_decay")
_SELDOM = ("width", "pieces", "l1", "kl_sparsity", "sparsity_target")
_FLAGS = {
    "p_drop": "--p",
    "p_drop_input": "--p-input",
    "p_drop_conv": "--p-conv",
    "train_size": "--train-size",
    "layers": "--layers",
    "convention": "--convention",
    "dropout": "--dropout",
    "dropout_schedule": "--schedule",
    "cutoff_epoch": "--cutoff-epoch",
}
_OF_COMPARISON = (
    "p_drop_input", "p_drop_conv", "train_size", "layers", "dropout", "dropout_schedule", "cutoff_epoch",
)  # fmt: skip
_ONE_TO_A_COMMAND = ("convention", "tied", "widened", "cutoff_epoch")
_USUAL = {"p_drop_input": 0.0, "p_drop_conv": 0.0, "convention": "inverted", "dropout": "bernoulli",
          "dropout_schedule": "constant"}  # fmt: skip


def sweep_commands(sweep: Sweep, *more: str) -> list[str]:
    """The ``dropbench sweep`` of all settings, or ``dropbench features``; several where one cannot tell all.

    They may have more runs than were done: a sweep takes every combination of its lists, and seeds from 0 on.
    """
    return [
        shlex.join([*_sweep_command(replace(sweep, settings=tuple(group))), *more])
        for group in _of_one_command(sweep.settings)
    ]


def _of_one_command(settings: Sequence[Setting]) -> list[list[Setting]]:
    """The settings in groups that agree in what a command has one of; what drops nothing joins them all."""
    groups: list[tuple[dict[str, Any], list[Setting]]] = []
    for setting in sorted(settings, key=lambda setting: setting.drops_nothing):
        named = ("tied",) if setting.drops_nothing else _ONE_TO_A_COMMAND
        told = {axis: setting.axes[axis] for axis in named if not _is_empty(setting.axes[axis])}
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
    shown = dropping or list(sweep.settings)
    command = ["dropbench", "features" if sweep.reconstructs else "sweep"]
    seeds = 1 + max((max(setting.run_ids, default=0) for setting in sweep.settings), default=0)
    values = {axis: _values(shown, axis) for axis in AXES if axis in _FLAGS}
    if sweep.reconstructs:
        command += [
            "--p",
            _listed(_values(sweep.settings, "p_drop")),
            "--units",
            _listed(values.pop("layers")),
        ]
        if any(setting.axes["tied"] == "True" for setting in sweep.settings):
            command.append("--tied")
    else:
        command += ["--p", _listed(values["p_drop"])]
        if dropping and len(dropping) == len(sweep.settings):
            command.append("--no-baseline")
        if any(setting.axes["widened"] == "True" for setting in sweep.settings):
            command.append("--widen")
    for axis, found in values.items():
        if axis == "p_drop" or found == [_USUAL.get(axis)] or all(_is_empty(value) for value in found):
            continue
        if axis == "layers" and found == [",".join(map(str, _recipe_layers(sweep.fields)))]:
            continue
        command += [_FLAGS[axis], _joined(axis, found)]
    return [*command, "--seeds", str(seeds), *_setting_flags(sweep.fields, sweep.reconstructs)]


def comparison_command(comparison: Comparison) -> str:
    """The ``dropbench compare-bagging`` of a comparison."""
    fields = comparison.fields
    command = ["dropbench", "compare-bagging", "--p", axis_text(fields["p_drop"])]
    for axis in _OF_COMPARISON:
        value = fields[axis]
        if axis == "layers" and value == ",".join(map(str, _recipe_layers(fields))):
            continue
        if value != _USUAL.get(axis) and not _is_empty(value):
            command += [_FLAGS[axis], axis_text(value)]
    if fields["widened"] == "True":
        command.append("--widen")
    if comparison.arms != DEFAULT_ARMS:
        command += ["--arms", ",".join(arm for arm in ARMS if arm in comparison.arms)]
    command += ["--members", f"{fields['members']:.0f}", "--budget", fields["budget"]]
    if fields["mc_samples"]:
        command += ["--mc-samples", f"{fields['mc_samples']:.0f}"]
    command += ["--ood", fields["foreign"] or "none", "--seeds", str(comparison.seeds)]
    return shlex.join([*command, *_setting_flags(fields, False)])


def _setting_flags(fields: Mapping[str, Any], reconstructs: bool) -> list[str]:
    """Those of what a sweep never varies, where they are not what the model's recipe says."""
    recipe = recipe_of(fields["model"])
    flags = ["--data", str(fields["data"])]
    if not reconstructs:
        flags += ["--model", str(fields["model"])]
    for name in _OF_RECIPE:
        if fields[name] != getattr(recipe, name):
            flags += [f"--{name.replace('_', '-')}", axis_text(fields[name])]
    if fields["activation"] != "relu":
        flags += ["--activation", str(fields["activation"])]
    if not math.isnan(fields["max_norm"]):
        flags += ["--max-norm", axis_text(fields["max_norm"])]
    for name in _SELDOM:
        if fields[name] != USUAL[name]:
            flags += [f"--{name.replace('_', '-')}", axis_text(fields[name])]
    return [*flags, "--precision", str(fields["precision"])]


def _recipe_layers(fields: Mapping[str, Any]) -> Sequence[int]:
    return () if is_own(fields["model"]) else recipe_of(fields["model"]).layers


def _values(settings: Sequence[Setting], axis: str) -> list[Any]:
    return list({sortable(setting.axes[axis]): setting.axes[axis] for setting in settings}.values())


def _joined(axis: str, values: Sequence[Any]) -> str:
    if axis == "layers":
        return "/".join(map(str, values))
    if axis == "cutoff_epoch":  # one for all schedules that have one
        return next(axis_text(value) for value in values if not _is_empty(value))
    return _listed(values)


def _listed(values: Sequence[Any]) -> str:
    return ",".join(axis_text(value, "all") for value in values)


def _is_empty(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))
