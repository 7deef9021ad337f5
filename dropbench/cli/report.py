"""``dropbench report``: the tables again, from the CSV files alone."""

from pathlib import Path
from typing import Annotated

import typer

from dropbench.cli.console import out, tell
from dropbench.cli.options import option, path_option
from dropbench.cli.paths import parse_path
from dropbench.errors import UsageError
from dropbench.run.grammar import parse_names, parse_probability

WORSE = 4
"""The exit code of --diff where something is significantly worse."""
_SHOW, _COMPARE, _WRITE = "What is shown", "How settings are compared", "What is written"


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder that dropbench wrote results into.",
            envvar="DROPBENCH_OUT",
            show_envvar=False,
            parser=parse_path,
            metavar="[FOLDER]",
        ),
    ] = Path("results"),
    only: Annotated[
        str | None,
        option(
            "--only",
            "Show only these parts: paper, find, sweep, panel, features, comparison, speed, verify.",
            _SHOW,
            show_default="all",
        ),
    ] = None,
    sort: Annotated[
        str, option("--sort", "Order of a sweep's rows: p, val, test or difference.", _SHOW)
    ] = "p",
    metric: Annotated[
        str | None,
        option(
            "--metric",
            "Compare settings in this metric: error, nll, brier or ece; of a regression rmse, nll or "
            "coverage.",
            _COMPARE,
            show_default="error, of a regression rmse",
        ),
    ] = None,
    reference: Annotated[
        str,
        option("--reference", "The p_drop that the others are compared with: p=0 is no dropout.", _COMPARE),
    ] = "p=0",
    diff: Annotated[
        Path | None,
        path_option(
            "--diff",
            f"Compare FOLDER with this older one, seed by seed; exit code {WORSE} if a setting has become "
            "significantly worse.",
            _COMPARE,
            metavar="OLDER",
        ),
    ] = None,
    export_to: Annotated[
        Path | None,
        path_option(
            "--export",
            "Also write the tables: FILE.md, .csv, .json or .tex; - is stdout, instead of the tables.",
            _WRITE,
            metavar="FILE",
        ),
    ] = None,
    form: Annotated[
        str | None,
        option("--format", "Format of --export, if not the ending's: md, csv, json or tex.", _WRITE),
    ] = None,
    html: Annotated[
        Path | None,
        path_option(
            "--html", "Also write a page, one file that works offline; - is stdout.", _WRITE, metavar="FILE"
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        path_option(
            "--pictures",
            "Also write all pictures into the folder DIR.",
            _WRITE,
            metavar="DIR",
        ),
    ] = None,
    picture_formats: Annotated[
        str,
        option("--picture-format", "Formats of --pictures: png, svg, pdf, or several with commas.", _WRITE),
    ] = "png",
) -> None:
    """Show the tables of everything a results folder holds, and write its pictures and its page.

    Examples:

        dropbench report

        dropbench report results --html report.html --export table.tex

        dropbench report --diff old new --metric nll
    """
    from dropbench.cli.finish import draw_pictures
    from dropbench.report.diff import diff_tables
    from dropbench.report.folder import KINDS, Choice, load_report
    from dropbench.report.render.export import STDOUT, export, exporter_for, write_text
    from dropbench.report.render.picture import check_formats
    from dropbench.report.render.terminal import show

    choice = Choice(
        only=KINDS if only is None else parse_names(only),
        metric=metric or "",
        reference_p=_reference(reference),
        sort=sort,
    )
    formats = parse_names(picture_formats)
    check_formats(formats)
    if export_to is not None:
        exporter_for(export_to, form)
    elif form is not None:
        raise UsageError("--format is that of --export.", "Add --export FILE, or --export - for stdout.")
    if pictures is None and picture_formats != "png":
        raise UsageError("--picture-format is that of --pictures.", "Add --pictures DIR.")
    if export_to == html == STDOUT:
        raise UsageError("--export and --html cannot both go to stdout.", "Name a file for one of them.")
    if diff is not None:
        if html is not None or pictures is not None:
            raise UsageError("--diff has neither pictures nor a page.", "Leave out --html and --pictures.")
        if only is not None or sort != "p" or reference != "p=0":
            raise UsageError(
                "--diff compares each setting with itself.", "Leave out --only, --sort and --reference."
            )
        tables, worse = diff_tables(diff, folder, choice)
        if export_to != STDOUT:
            show(tables, out)
        if export_to is not None:
            export(tables, export_to, form)
        if worse:
            raise typer.Exit(WORSE)
        return
    found = load_report(folder, choice)
    if STDOUT not in (export_to, html):
        show(found.tables, out)
    if export_to is not None:
        export(found.tables, export_to, form)
    if html is not None:
        from dropbench.report.page.build import render

        write_text(html, render(found))
    for path in (export_to, html):
        if path not in (None, STDOUT):
            tell(f"written: {path}")
    if pictures is not None:
        for path in draw_pictures(found, pictures, formats):
            tell(f"written: {path}")


def _reference(text: str) -> float:
    name, equals, value = text.rpartition("=")
    if equals and name.strip() not in ("p", "p_drop"):
        raise UsageError(f"--reference {text}.", "Write the p_drop of the reference, like p=0 or p=0.5.")
    return parse_probability(value, "--reference")
