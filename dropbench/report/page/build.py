"""From a report to its page."""

import base64
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

import dropbench
from dropbench.report.comparison.charts import comparison_charts
from dropbench.report.comparison.comparison import Comparison
from dropbench.report.features.pictures import save_features, save_histograms
from dropbench.report.folder import Experiment, Report
from dropbench.report.paper.charts import paper_chart
from dropbench.report.paper.result import PaperResult
from dropbench.report.render.chart import Chart
from dropbench.report.sweep.charts import panel_charts, sweep_charts
from dropbench.report.sweep.command import comparison_command, sweep_commands
from dropbench.report.sweep.sweep import Sweep
from dropbench.report.table import Table
from dropbench.report.units.panel import Panel
from dropbench.results.read import read_table
from dropbench.results.schema import EPOCHS, RUNS, SCHEMA_VERSION

_MADE_ON = ("device_name", "device", "threads", "torch_version", "dropbench_version", "git_commit")


@dataclass(frozen=True)
class Picture:
    """An image inside the page."""

    caption: str
    alt: str
    source: str


@dataclass(frozen=True)
class Section:
    """One experiment of the folder."""

    anchor: str
    kind: str
    title: str
    verdict: tuple[str, ...]
    charts: tuple[Chart, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    command: str
    made: tuple[tuple[str, str], ...]


def render(report: Report) -> str:
    """The page as HTML: everything in it, nothing fetched; what comes from results is escaped.

    Raises:
        DropbenchError: if a file of features is damaged.

    """
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    pages = _Page(report.folder, read_table(report.folder, EPOCHS), read_table(report.folder, RUNS))
    sections = [pages.section(number, each) for number, each in enumerate(report.experiments, start=1)]
    environment = Environment(
        loader=PackageLoader("dropbench.report.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sort_key"] = _sort_key
    return environment.get_template("page.html").render(
        title=f"dropbench: {report.folder.resolve().name}",
        sections=sections,
        style=_file("page.css"),
        script=_file("page.js"),
        plotly=get_plotlyjs() if any(section.charts for section in sections) else "",
        version=dropbench.__version__,
        schema=SCHEMA_VERSION,
    )


def _file(name: str) -> str:
    return files("dropbench.report.page").joinpath(name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Page:
    """What sections are made from."""

    folder: Path
    epochs: pd.DataFrame
    runs: pd.DataFrame

    def section(self, number: int, experiment: Experiment) -> Section:
        first, source = experiment.tables[0], experiment.source
        charts: list[Chart] = []
        pictures: list[Picture] = []
        command, run_ids = f"dropbench {experiment.kind}", frozenset[str]()
        if isinstance(source, Sweep):
            charts = sweep_charts(source, self.epochs)
            command, run_ids = "\n".join(sweep_commands(source)), source.run_ids
        elif isinstance(source, Comparison):
            charts = comparison_charts(source)
            command, run_ids = comparison_command(source), source.run_ids
        elif isinstance(source, PaperResult):
            charts = [paper_chart(source)]
            command, run_ids = source.command(), source.run_ids
        elif isinstance(source, Panel):
            run_ids = source.sweep.run_ids
            if experiment.kind == "features":
                command = "\n".join(sweep_commands(source.sweep))
                pictures = list(_images(source, self.folder))
            else:
                command = "\n".join(sweep_commands(source.sweep, "--panel"))
                charts = panel_charts(source)
        return Section(
            anchor=f"s{number}",
            kind=experiment.kind,
            title=first.title,
            verdict=first.verdict,
            charts=tuple(charts),
            pictures=tuple(pictures),
            tables=experiment.tables,
            command=command,
            made=_made(self.runs, run_ids) if run_ids else (),
        )


def _made(runs: pd.DataFrame, run_ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """On what, with what and when these runs were made, with every value that any of them has."""
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


def _images(panel: Panel, folder: Path) -> Iterable[Picture]:
    with tempfile.TemporaryDirectory() as scratch:
        features = save_features(panel, folder, Path(scratch, "features.png"))
        activations = save_histograms(panel, Path(scratch, "activations.png"))
        for caption, path in (
            ("First-layer weights, and reconstructions of test images", features),
            ("Histograms of activations", activations),
        ):
            if path is not None:
                alt = f"{caption} of the autoencoder, side by side for each setting of the table."
                yield Picture(
                    caption, alt, f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
                )


def _sort_key(text: str) -> str:
    """What a cell is sorted by: its first number, else its text."""
    head = text.replace(",", "").replace("–", "").split(" ")[0]
    try:
        return str(float(head))
    except ValueError:
        return text
