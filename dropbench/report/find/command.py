"""The command that makes a find again, and the flags that tell one of its settings."""

from collections.abc import Iterable
from typing import Any

from dropbench.catalog.arms import ARMS
from dropbench.catalog.models import OF_OPTIMIZER
from dropbench.report.find.find import Entrant, Find
from dropbench.report.find.standing import Within
from dropbench.report.metrics import metrics_of
from dropbench.report.sweep.command import of_session, setting_flags, values_text, where_flags
from dropbench.report.sweep.sweep import AXES, SETTING, typed
from dropbench.run.config import SETTINGS
from dropbench.run.shell import command_line
from dropbench.run.telling import usual


def find_command(find: Find) -> str:
    """The ``dropbench find`` of all entrants; it may have more: it takes every combination of its lists."""
    fixed = typed(find.fields)
    if instead := of_session([fixed["model"], *(each.settings["dropout"] for each in find.entrants)]):
        return instead
    told = {name: _values(find, name) for name in (*AXES, *SETTING)}
    command = ["dropbench", "find", *setting_flags(told, "find", fixed)]
    if all(each.drops for each in find.entrants):
        command.append("--no-baseline")
    if arms := list(dict.fromkeys(arm_text(each) for each in find.entrants if each.arm)):
        command += ["--candidates", ",".join(arms)]
    if find.fields["budget"]:
        command += ["--budget", find.fields["budget"]]
    if within := _within_text(find):
        command += ["--within", within]
    if find.metric.name != metrics_of(find.fields["task"])[0].name:
        command += ["--metric", find.metric.name]
    return command_line([*command, *where_flags(fixed)])


def arm_text(entrant: Entrant) -> str:
    """An arm and what it averages as ``--candidates`` takes it: ``ensemble:5``."""
    return f"{entrant.arm}:{entrant.members}" if entrant.members > 1 else entrant.arm


def _within_text(find: Find) -> str:
    """The difference that does not matter as ``--within`` takes it; empty for the usual one.

    One that has both a number and a share was not told: it is the usual one for the data.
    """
    within = find.within
    if within == Within.usual(find.metric) or (within.least and within.share):
        return ""
    return f"{100 * within.share:.12g}%" if within.share else f"{within.least:.12g}"


def flags(find: Find, entrant: Entrant) -> str:
    """The settings of an entrant that vary, as ``dropbench train`` and ``sweep`` take them; --p always.

    For an arm they have the words before them that make it: ``compare-bagging --arms ensemble --members 5``.
    """
    return command_line([*_arm_words(entrant), *_setting_words(find, entrant)])


def arm_command(find: Find, entrant: Entrant) -> str:
    """The whole ``dropbench compare-bagging`` that makes an arm; empty for a single net."""
    fixed = typed(find.fields)
    if not entrant.arm or of_session([fixed["model"], entrant.settings["dropout"]]):
        return ""
    told = {name: [entrant.settings[name]] for name in (*AXES, *SETTING)}
    if not ARMS[entrant.arm].drops:
        del told["p_drop"]  # it would be that of the dropout net beside
    words = setting_flags(told, "compare-bagging", fixed)
    return command_line(["dropbench", *_arm_words(entrant), *words, *where_flags(fixed)])


def _arm_words(entrant: Entrant) -> list[str]:
    if not entrant.arm:
        return []
    many = "--mc-samples" if ARMS[entrant.arm].monte_carlo else "--members"
    size = [many, str(entrant.members)] if entrant.members > 1 else []
    return ["compare-bagging", "--arms", entrant.arm, *size]


def _setting_words(find: Find, entrant: Entrant) -> Iterable[str]:
    for name in find.varying:
        each, value = SETTINGS[name], entrant.settings[name]
        if name == "p_drop" and entrant.arm and not ARMS[entrant.arm].drops:
            continue  # of compare-bagging it is that of the dropout net beside
        if name != "p_drop" and each.of_dropout and not entrant.drops:
            continue
        if each.type is bool:
            yield from [each.flag] if value else []
        elif value is not None or each.empty:
            yield from (each.flag, values_text(name, [value]))


def _values(find: Find, name: str) -> list[Any]:
    """The values of a setting, each once; none where every entrant has what its optimizer has by default."""
    dropping = [each for each in find.entrants if each.drops]
    of = dropping if (SETTINGS[name].of_dropout or name == "p_drop") and dropping else find.entrants
    if name in OF_OPTIMIZER and all(_is_usual(each, name) for each in of):
        return []
    return list(dict.fromkeys(each.settings[name] for each in of))


def _is_usual(entrant: Entrant, name: str) -> bool:
    told = entrant.settings
    return bool(told[name] == usual(name, told["model"], told["inputs"], told["optimizer"]))
