"""Options of the commands: those that several share, and those made from the declarations of settings."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dropbench.catalog.forms import FORMS
from dropbench.catalog.models import defaults_of
from dropbench.cli.config_file import ConfigFile
from dropbench.cli.paths import parse_path
from dropbench.run import machine
from dropbench.run.blocks import data, dropout, model, optimizer
from dropbench.run.config import SETTINGS
from dropbench.run.setting import Declaration, settings_of

DATA, MODEL, DROPOUT, TRAINING = data.PANEL, model.PANEL, dropout.PANEL, optimizer.PANEL
COMPARISON = "Comparison"
_WIDEST = 32
"""Letters of the choices that are shown in place of a value; help texts name more of them."""
MACHINE, OUTPUT = machine.PANEL, machine.OUTPUT
_PANELS = (DATA, MODEL, DROPOUT, TRAINING, COMPARISON, MACHINE, OUTPUT)

OF_RUNS: tuple[Declaration, ...] = tuple(SETTINGS.values())
OF_DATA: tuple[Declaration, ...] = tuple(each for each in OF_RUNS if each.of_source)
OF_MACHINE = settings_of(machine.Machine)
OF_POLICY = settings_of(machine.Policy)


def option(flag: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """An option with its help, in a panel of the help page; ``--so-called`` is DROPBENCH_SO_CALLED, too."""
    name = flag.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    # One sentence in the help of dropbench tells of them all.
    return typer.Option(
        flag, help=help, rich_help_panel=panel, envvar=f"DROPBENCH_{name}", show_envvar=False, **more
    )


def path_option(flag: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """An option whose value is a path, in which ~ is the home folder wherever it is told."""
    return option(flag, help, panel, **{"metavar": "PATH", **more}, parser=parse_path)


Data = Annotated[
    str,
    option(
        "--data",
        "Data set: mnist5k (embedded), mnist, fashion-mnist, kmnist, cifar10, cifar100, svhn; or your own: "
        f"{', '.join(form.name for form in FORMS.values())}.",
        DATA,
    ),
]
DataDir = Annotated[
    Path | None,
    path_option(
        "--data-dir",
        "Folder that torchvision's data sets are in, or go to when downloaded.",
        DATA,
        show_default="the user's data folder",
    ),
]
Seeds = Annotated[
    int, option("--seeds", "Number of seeds, from 0 on; every setting runs on the same ones.", TRAINING)
]
Panel = Annotated[
    bool,
    option(
        "--panel",
        "Also measure the hidden units: activity, independence, error with a share of them removed.",
        OUTPUT,
    ),
]
Save = Annotated[
    Path | None,
    path_option(
        "--save",
        "Write the tested net into FILE.safetensors, for dropbench predict; its settings into FILE.json.",
        OUTPUT,
        metavar="FILE",
    ),
]
Out = Annotated[Path, path_option("--out", "Folder of the CSV files.", OUTPUT)]
AsJson = Annotated[bool, option("--json", "Print the result as JSON.", OUTPUT)]

Keywords = Mapping[str, Any]
"""The settings that a command was given, by their names, for a call of dropbench.api."""


TAKES_LISTS = "takes_lists"
"""The attribute of a command that has the flags of which it takes several values."""


def takes(
    command: str, *declared: Iterable[Declaration], lists: bool = False, **defaults: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each declaration that it offers, and ``--config``.

    The command's last parameter, ``given``, receives the Keywords of those that were told. ``lists`` says
    that settings may have several values; ``defaults`` are the command's own, by the names of settings. That
    of p_drop is not meant where units are told to be dropped at sites that only nets of libraries have.
    """
    offered = [each for group in declared for each in group if each.offered_by(command)]

    of_lists = {each.flag for each in offered if lists and each.takes_list_in(command)}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        *own, _ = inspect.signature(function).parameters.values()
        made = [_parameter(each, each.flag in of_lists, defaults.get(each.name)) for each in offered]
        config = inspect.Parameter("config", _KEYWORD, default=None, annotation=ConfigFile)
        parameters = [each.replace(kind=_KEYWORD) for each in (*own, *made, config)]
        parameters.sort(key=_place)

        @functools.wraps(function)
        def wrapped(**values: Any) -> None:
            found = {each.name: values.pop(each.name) for each in offered}
            del values["config"]  # its callback has made it the defaults of the others
            given = {each.name: found[each.name] for each in offered if _is_told(each, found[each.name])}
            if not any(name in given for name in dropout.OF_LIBRARIES):
                given = {**defaults, **given}
            function(**values, given=given)

        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        setattr(wrapped, TAKES_LISTS, frozenset(of_lists))
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapped

    return decorate


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _is_told(each: Declaration, value: Any) -> bool:
    """Whether an option has a value; a switch that is as it was has none."""
    return value is not None and not (each.type is bool and value == each.default)


def _parameter(each: Declaration, lists: bool, default: str | None) -> inspect.Parameter:
    is_text = each.parse is not None or each.type is str
    kind = str if is_text else bool if each.type is bool else each.type
    more: dict[str, Any] = {}
    if each.type is not bool:
        more["metavar"] = _metavar(each, lists)
        if each.choices:
            more["autocompletion"] = lambda: list(each.choices)
    # An option that is not told has no value, so that one that is told its default is known to be told.
    start = each.default if each.type is bool else None
    if each.type is not bool:
        more["show_default"] = default_text(each) if default is None else default
    annotation = Annotated[kind | None, option(each.flag, each.help, each.panel, **more)]  # type: ignore[valid-type]
    return inspect.Parameter(each.name, _KEYWORD, default=start, annotation=annotation)


def _metavar(each: Declaration, lists: bool) -> str | None:
    """The choices where they are few, else the kind of value; with ,… where lists are taken."""
    several = ",…" if lists else ""
    if each.choices:
        few = not each.open_ended and len("|".join(each.choices)) <= _WIDEST
        return f"{'|'.join(each.choices) if few else 'NAME'}{several}"
    if each.name == "layers":
        return "UNITS,…/…" if several else "UNITS,…"
    if each.name.startswith("p_drop"):
        return f"P{several}"
    if each.parse is None:
        return None
    number = "FLOAT" if each.type in (float, float | None) else "N"
    return f"{number}{f'|{each.empty}' if each.empty else ''}{several}"


def default_text(each: Declaration) -> str:
    """The default in words: the models' where they differ."""
    if each.says_default:
        return each.says_default
    if not each.from_recipe:
        return each.text(each.default)
    by_value = {each.text(value) or "fixed": models for value, models in defaults_of(each.name).items()}
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} for {', '.join(models)}" for value, models in by_value.items())


def _place(parameter: inspect.Parameter) -> int:
    """Arguments first, then the panels in their order."""
    info = next((each for each in get_args(parameter.annotation) if hasattr(each, "rich_help_panel")), None)
    panel = getattr(info, "rich_help_panel", None)
    return _PANELS.index(panel) if panel in _PANELS else -1
