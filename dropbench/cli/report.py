"""``dropbench report``: the tables again, from the CSV files alone."""

from pathlib import Path
from typing import Annotated

import typer

from dropbench.cli.console import out, tell


def report(
    folder: Annotated[Path, typer.Argument(help="A folder that dropbench wrote results into.")] = Path(
        "results"
    ),
    export_to: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Also write the tables: FILE.md, .csv, .json or .tex."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="DIR", help="Also draw curves, panels and features into DIR."),
    ] = None,
) -> None:
    """Show the tables of everything a results folder holds, and draw its pictures where wanted.

    Examples:

        dropbench report

        dropbench report results --export table.tex

        dropbench report results --pictures figures
    """
    from dropbench.report.build import build_report
    from dropbench.report.export import check_ending, export
    from dropbench.report.pictures import save_pictures
    from dropbench.report.terminal import show

    if export_to is not None:
        check_ending(export_to)
    found = build_report(folder, tell)
    show(found.tables, out)
    if export_to is not None:
        export(found.tables, export_to)
        tell(f"written: {export_to}")
    if pictures is not None:
        for path in save_pictures(found, pictures):
            tell(f"written: {path}")
