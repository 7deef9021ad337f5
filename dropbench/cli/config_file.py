"""``--config FILE.toml``: flags out of a file, below the command line and the environment."""

import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from dropbench.cli.paths import parse_path
from dropbench.errors import UsageError, unknown_name


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of this command's options.

    Keys are the flags' names, at the top for every command or in a table named like the command:
    ``epochs = 10``, ``[sweep]``, ``p = "0.1..0.8"``.

    Raises:
        UsageError: if the file cannot be read, has a table that is no command, or a key that is no flag: of
            its command, or at the top of any.

    """
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"--config {path} is no TOML: {str(error).rstrip('.')}.",
            'Write a line for each flag, as epochs = 10 or p = "0.1..0.8", with text in quotes.',
        ) from error
    except (OSError, ValueError) as error:  # Unicode errors are ValueErrors
        raise UsageError(f"Cannot read --config {path}: {error}.") from error
    commands = getattr(context.find_root().command, "commands", {})
    flags = {name: _flags(command) for name, command in commands.items()}
    top = {key: value for key, value in content.items() if not isinstance(value, dict)}
    _check(top, {flag for known in flags.values() for flag in known}, f"key in {path}")
    for name in content.keys() - top.keys():
        if name not in flags:
            raise unknown_name(f"command in {path}", name, sorted(flags))
        _check(content[name], flags[name], f"key in [{name}] of {path}")
    own = _flags(context.command)
    told = {**top, **content.get(context.command.name or "", {})}
    context.default_map = {
        own[flag]: value if isinstance(value, bool) else _text(value)
        for key, value in told.items()
        if (flag := _flag(key)) in own  # at the top it may be meant for another command
    }
    return path


def _flags(command: Any) -> dict[str, str]:
    """The parameter that each flag of a command is, by the flag's name without dashes before it."""
    return {option.removeprefix("--"): each.name for each in command.params for option in each.opts}


def _flag(key: str) -> str:
    return key.replace("_", "-")


def _check(given: Iterable[str], known: Collection[str], what: str) -> None:
    for key in given:
        if _flag(key) not in known:
            raise unknown_name(what, key, sorted(known))


def _text(value: Any) -> str:
    """The value as the command line takes it: lists with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Take flags from this TOML file, where neither the command line nor a variable gives them.",
        rich_help_panel="Output",
        callback=_read,
        is_eager=True,
        envvar="DROPBENCH_CONFIG",
        metavar="PATH",
        parser=parse_path,
    ),
]
