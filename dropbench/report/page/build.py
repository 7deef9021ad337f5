"""The page of a report."""

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

import dropbench
from dropbench.report.figure import Figure
from dropbench.report.folder import Report
from dropbench.report.render import picture
from dropbench.report.render.chart import chart_json
from dropbench.report.subject import Subject
from dropbench.results.read import read_table
from dropbench.results.schema import RUNS, SCHEMA_VERSION

if TYPE_CHECKING:
    from jinja2 import Environment

_MADE_ON = ("device_name", "device", "threads", "torch_version", "dropbench_version", "git_commit")


@dataclass(frozen=True)
class Shown:
    """A chart of Plotly's JSON, or an image's address, with what it shows in words."""

    caption: str
    alt: str
    data: str


@dataclass(frozen=True)
class Section:
    """One subject of the report."""

    anchor: str
    subject: Subject
    charts: tuple[Shown, ...]
    pictures: tuple[Shown, ...]
    made: tuple[tuple[str, str], ...]


def render(report: Report) -> str:
    """The page as HTML: everything in it, nothing fetched; what comes from results is escaped.

    Raises:
        DropbenchError: if a file of features is damaged.

    """
    from plotly.offline import get_plotlyjs

    runs = read_table(report.folder, RUNS)
    sections = [_section(number, subject, runs) for number, subject in enumerate(report.subjects, start=1)]
    return (
        templates()
        .get_template("page.html")
        .render(
            title=f"dropbench: {report.folder.resolve().name}",
            sections=sections,
            style=_file("page.css"),
            script=_file("page.js"),
            plotly=get_plotlyjs() if any(section.charts for section in sections) else "",
            version=dropbench.__version__,
            schema=SCHEMA_VERSION,
        )
    )


def templates() -> "Environment":
    """The templates of this folder, which escape what they are given."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("dropbench.report.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sort_key"] = _sort_key
    return environment


def picture_of(figure: Figure) -> Shown:
    """A figure as an image inside a page."""
    encoded = base64.b64encode(picture.render(figure, "png")).decode()
    return Shown(figure.caption, figure.alt, f"data:image/png;base64,{encoded}")


def _file(name: str) -> str:
    return files("dropbench.report.page").joinpath(name).read_text(encoding="utf-8")


def _section(number: int, subject: Subject, runs: pd.DataFrame) -> Section:
    """A chart for each subplot of every figure; a figure of images as one picture."""
    charts = tuple(
        Shown(caption, f"{caption}. {subplot.alt}", chart_json(subplot))
        for figure in subject.figures
        if not figure.has_images
        for subplot in figure.subplots
        for caption in [figure.caption_of(subplot)]
    )
    pictures = tuple(picture_of(figure) for figure in subject.figures if figure.has_images)
    made = _made(runs, subject.run_ids) if subject.run_ids else ()
    return Section(f"s{number}", subject, charts, pictures, made)


def _made(runs: pd.DataFrame, run_ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The device, the versions and the time of these runs, with every value that any of them has."""
    rows = runs[runs["run_id"].isin(list(run_ids))]
    found = []
    for name in _MADE_ON:
        values = sorted({_plain(value) for value in rows[name]} - {""})
        if values:
            found.append((name.replace("_", " "), ", ".join(values)))
    started = sorted(value for value in rows["started_at"] if value)
    if started:
        found.append(
            ("started", started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}")
        )
    statuses = rows["status"].value_counts()
    found.append(("runs", ", ".join(f"{count} {status}" for status, count in statuses.items())))
    return tuple(found)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)


def _sort_key(text: str) -> str:
    """The key that a cell is sorted by: its first number, else its text."""
    head = text.replace(",", "").replace("–", "").split(" ")[0]
    try:
        return str(float(head))
    except ValueError:
        return text
