"""``--config FILE.toml``: flags out of a file, below the command line and the environment."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from dropbench.errors import UsageError, unknown_name


def _read(context: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of this command's options.

    Keys are the flags' names, at the top for every command or in a table named like the command:
    ``epochs = 10``, ``[sweep]``, ``p = "0.1..0.8"``.

    Raises:
        UsageError: if the file cannot be read, or has a key that is no flag of the command.

    """
    if path is None:
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOML and Unicode errors are ValueErrors
        raise UsageError(f"Cannot read --config {path}: {error}.") from error
    own = content.pop(context.command.name or "", {})
    top = {key: value for key, value in content.items() if not isinstance(value, dict)}
    known = {parameter.name for parameter in context.command.params if parameter.name}
    values: dict[str, Any] = {}
    # A key at the top may be meant for another command; one in the command's own table may not.
    for keys, must_fit in ((top, False), (own, True)):
        for key, value in keys.items():
            name = key.replace("-", "_")
            if name in known:
                values[name] = value if isinstance(value, bool) else _text(value)
            elif must_fit:
                raise unknown_name(f"key in [{context.command.name}] of {path}", key, sorted(known))
    context.default_map = values
    return path


def _text(value: Any) -> str:
    """As it is written on the command line: lists with commas."""
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
    ),
]
