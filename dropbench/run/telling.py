"""Words for runs: a title has every setting that is not usual, a label those that tell a run from others."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from dropbench.catalog.models import MODEL_OF, RECIPES, recipe_of
from dropbench.catalog.optimizers import SGD
from dropbench.catalog.user_code import library_of
from dropbench.run.config import SETTINGS, RunConfig
from dropbench.run.result import RunResult

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_NAMED = ("data", "inputs", "model", "data_key", "model_key", "dropout_key")
_ALWAYS = ("p_drop", "seed")
_TOLD = {
    "error_percent": "error {:.2f} %",
    "rmse": "RMSE {:.12g}",
    "reconstruction_error": "reconstruction error {:.2f}",
}
"""The metric that says how a run ended, of each task."""


def usual(name: str, model: str, inputs: str, optimizer: str = SGD) -> Any:
    """The value that a setting has where nobody tells it: the model's for these inputs, or that of today."""
    each = SETTINGS[name]
    if name == "model":
        return MODEL_OF[inputs]
    recipe = recipe_of(model) if library_of(model) else RECIPES.get(model) or RECIPES["lecture-cnn"]
    return recipe.default(name, inputs, optimizer) if each.from_recipe else each.untold


def unusual(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Words for each of the named settings that is not as usual, or always told, if it has a value."""
    return [
        SETTINGS[name].said(values[name])
        for name in names
        if name in values
        and name not in _NAMED
        and (
            SETTINGS[name].always
            or values[name] != usual(name, values["model"], values["inputs"], values.get("optimizer", SGD))
        )
    ]


def counted(number: float, noun: str) -> str:
    """A number of things: ``1 run``, ``1,000 runs``."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def listed(words: Iterable[str], most: int = 5) -> str:
    """The first words, divided by commas, and how many more there are."""
    every = list(words)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """A time as people say it, to one figure or two."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"


def planned(todo: int, before: int, jobs: int) -> str:
    """How many runs there are to do, how many were done before, and how many go on at a time."""
    told = [f"{counted(todo, 'run')} to do"]
    if before:
        told.append(f"{before:,} done before")
    if todo > 1:
        told.append(f"{jobs} at a time")
    return ", ".join(told)


def so_far(runs: int, ended: int) -> str:
    """How many of the runs have ended, and how many wait."""
    have = "has" if ended == 1 else "have"
    return f"{ended:,} of {counted(runs, 'run')} {have} ended, {runs - ended:,} to go"


def going_on(number: int) -> str:
    """How many runs do not begin, but go on where they were."""
    return (
        "1 run goes on from its checkpoint"
        if number == 1
        else f"{number:,} runs go on from their checkpoints"
    )


def data_name(data: str) -> str:
    """The name of a data set in a title: of one with a path its form and the path's last part."""
    form, colon, path = data.partition(":")
    return f"{form}:{PurePath(path).name or path}" if colon else data


def title(values: Mapping[str, Any], names: Iterable[str], *first: str) -> str:
    """The model and the data, what comes ``first``, and what is told of the named settings."""
    parts = [f"{values['model']} on {data_name(values['data'])}", *first, *unusual(values, names)]
    return ", ".join(parts).replace(", (", " (")


def telling(configs: Iterable[RunConfig]) -> tuple[str, ...]:
    """The settings in which the runs differ, with p_drop and the seed."""
    found: dict[str, set[Any]] = {}
    for config in configs:
        for name, value in config.settings().items():
            found.setdefault(name, set()).add(value)
    return tuple(name for name in SETTINGS if name in _ALWAYS or len(found.get(name, ())) > 1)


def label(config: RunConfig, names: Iterable[str] = _ALWAYS) -> str:
    """Words for the named settings of a run, without those that it has none of."""
    values = config.settings()
    shown = [
        SETTINGS[name].said(values[name])
        for name in names
        if name not in _NAMED
        and (name in _ALWAYS or values[name] not in (None, False, 0, ()))
        and not (SETTINGS[name].of_dropout and config.without_dropout)
    ]
    return ", ".join(shown)


def _said(what: str, value: float) -> str:
    """A metric in words; what is in the unit of the target has four significant digits."""
    return _TOLD[what].format(float(f"{value:.4g}") if what == "rmse" else value)


def outcome(result: RunResult, names: Iterable[str] = _ALWAYS) -> str:
    """How a run ended, in one line; ``names`` are the settings that tell it from the others."""
    told = label(result.config, names)
    if result.status != "ok":
        return f"{told}: {result.status}: {result.message}"
    what = next(what for what in _TOLD if f"test_{what}" in result.metrics)
    val, test = (_said(what, result.metrics[f"{split}_{what}"]) for split in ("val", "test"))
    last = result.cost["last_epoch"]
    ended = f"ended after epoch {last}, " if last != result.config.optimizer.epochs else ""
    return f"{told}: validation {val}, test {test}, {ended}{result.cost['seconds']:.1f} s"
