"""The picture files of a results folder, each named after what it shows."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from dropbench.errors import unknown_name
from dropbench.report.comparison.comparison import Comparison
from dropbench.report.comparison.pictures import save_comparison
from dropbench.report.features.pictures import save_features, save_histograms
from dropbench.report.folder import Report
from dropbench.report.paper.pictures import save_paper
from dropbench.report.paper.result import PaperResult
from dropbench.report.sweep.pictures import save_sweep
from dropbench.report.sweep.sweep import Sweep
from dropbench.report.units.panel import Panel
from dropbench.report.units.pictures import save_panel

FORMATS = ("png", "svg", "pdf")


def check_formats(formats: Collection[str]) -> None:
    """Raise UsageError for a format that pictures are not drawn in."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("picture format", name, FORMATS)


def save_pictures(report: Report, folder: Path, formats: Collection[str] = ("png",)) -> list[Path]:
    """Draw everything that a report holds and that can be drawn; makes the folder where there is none.

    Raises:
        DropbenchError: if a picture cannot be written.

    """
    return [
        *save_papers(report.papers, folder, formats),
        *save_curves(report.sweeps, folder, formats),
        *save_panels(report.panels("panel"), folder, formats),
        *save_feature_pictures(report.panels("features"), report.folder, folder, formats),
        *save_comparisons(report.comparisons, folder, formats),
    ]


def save_papers(
    papers: Collection[PaperResult], folder: Path, formats: Collection[str] = ("png",)
) -> list[Path]:
    """Draw every experiment of the paper.

    Raises:
        DropbenchError: if a picture cannot be written.

    """
    return [
        save_paper(each, folder / f"{_paper_name(each)}.{ending}") for each in papers for ending in formats
    ]


def save_curves(sweeps: Collection[Sweep], folder: Path, formats: Collection[str] = ("png",)) -> list[Path]:
    """Draw every sweep that has something to compare; the file's name tells its setting apart.

    Raises:
        DropbenchError: if a picture cannot be written.

    """
    drawn = [s for s in sweeps if sum(bool(s.test(setting)) for setting in s.settings) >= 2]
    return [
        save_sweep(sweep, folder / f"{sweep.metric.name}-against-p-{_name(sweep)}.{ending}")
        for sweep in drawn
        for ending in formats
    ]


def save_panels(panels: Collection[Panel], folder: Path, formats: Collection[str] = ("png",)) -> list[Path]:
    """Draw every panel.

    Raises:
        DropbenchError: if a picture cannot be written.

    """
    return [
        save_panel(panel, folder / f"panel-{_name(panel.sweep)}.{ending}")
        for panel in panels
        for ending in formats
    ]


def save_feature_pictures(
    panels: Collection[Panel], results: Path, folder: Path, formats: Collection[str] = ("png", "svg")
) -> list[Path]:
    """Draw what autoencoders learned, out of ``results`` into ``folder``.

    Raises:
        DropbenchError: if a picture cannot be written, or a file of features is damaged.

    """
    paths = []
    for panel in panels:
        for ending in formats:
            name = f"{_name(panel.sweep)}.{ending}"
            paths.append(save_features(panel, results, folder / f"features-{name}"))
            paths.append(save_histograms(panel, folder / f"activations-{name}"))
    return [path for path in paths if path is not None]


def save_comparisons(
    comparisons: Collection[Comparison], folder: Path, formats: Collection[str] = ("png",)
) -> list[Path]:
    """Draw every comparison that has figures.

    Raises:
        DropbenchError: if a picture cannot be written.

    """
    drawn = [comparison for comparison in comparisons if comparison.arms]
    return [
        path
        for each in drawn
        for ending in formats
        for path in save_comparison(each, folder, f"{_name(each)}.{ending}")
    ]


def _name(shown: Sweep | Comparison) -> str:
    """The part of a picture's name that tells its setting apart."""
    setting = hashlib.sha256(repr(sorted(shown.fields.items())).encode()).hexdigest()[:6]
    words = (_safe(str(shown.fields[name])) for name in ("data", "model"))
    return f"{'-'.join(words)}-{setting}"


def _paper_name(shown: PaperResult) -> str:
    return _safe(f"{shown.fields['paper']}-{shown.fields['scale']}-{shown.experiment_id[:6]}")


def _safe(word: str) -> str:
    """What may be a part of a file's name."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in word)[:60]
