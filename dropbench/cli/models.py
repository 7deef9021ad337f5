"""``dropbench model``: the nets that there are, dropbench's own and those of libraries."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropbench.catalog.models import RECIPES
from dropbench.cli.console import present
from dropbench.cli.options import AsJson

if TYPE_CHECKING:
    from dropbench.report.table import Column, Table

_Row = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Show the nets that --model takes.")


@app.callback()
def _of_nets() -> None:
    """Show the nets that --model takes."""


@app.command("list")
def list_models(
    pattern: Annotated[
        str | None, typer.Argument(help="Show the nets with this in their names: resnet18, or timm:vit*224.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List dropbench's own nets, and those of torchvision and timm that classify images.

    Examples:

        dropbench model list

        dropbench model list resnet18

        dropbench model list 'timm:vit_tiny*'
    """
    from dropbench.errors import unknown_name
    from dropbench.models import zoo

    own: list[_Row] = [{"model": name, "summary": each.summary} for name, each in RECIPES.items()]
    vision: list[_Row] = [
        {"model": net.name, "parameters": net.parameters, "side": net.side} for net in zoo.torchvision()
    ]
    timm: list[_Row] = [{"model": f"timm:{net}"} for net in zoo.names("timm")] if zoo.has_timm() else []
    known = [str(row["model"]) for row in (*own, *vision, *timm)]
    if pattern and not any(_is_found(name, pattern) for name in known):
        error = unknown_name("net", pattern, known)
        error.hint = f"{error.hint.partition('Known:')[0]}All are shown by: dropbench model list."
        raise error
    more = "Your own is package.module:factory; docs/extending.md has an example."
    note = "Made for images of so many pixels on a side; smaller ones need --small-images or --image-size."
    tables = [
        _table("own", "dropbench's own nets", ("model", "summary"), own, pattern, more),
        _table("torchvision", "torchvision's nets", ("model", "parameters", "side"), vision, pattern, note),
    ]
    if timm and (pattern or as_json):
        tables.append(_table("timm", "timm's nets", ("model",), timm, pattern))
    present([table for table in tables if table.rows], as_json)
    if not as_json and not pattern:
        _tell_of_timm(len(timm))


def _tell_of_timm(nets: int) -> None:
    from dropbench.cli.console import tell

    if nets:
        tell(f"timm has {nets:,} nets: dropbench model list timm: shows them all, or write more of a name.")
    else:
        tell('timm has many more nets: pip install "dropbench[timm]"')


def _is_found(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), f"*{pattern.lower()}*")


def _table(
    kind: str,
    title: str,
    names: Sequence[str],
    rows: Sequence[_Row],
    pattern: str | None,
    *notes: str,
) -> "Table":
    from dropbench.report.table import Column, Table

    def column(name: str) -> "Column":
        def text(row: Mapping[str, Any]) -> str:
            value = row[name]
            return f"{value:,}" if isinstance(value, int) else str(value)

        return Column(name, text, left=isinstance(rows[0][name], str))

    found = tuple(row for row in rows if not pattern or _is_found(str(row["model"]), pattern))
    return Table(kind, title, tuple(map(column, names)), found, notes)
