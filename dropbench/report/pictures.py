"""The picture files of a report, each named after what it shows."""

from collections.abc import Collection
from pathlib import Path

from dropbench.report.folder import Report
from dropbench.report.render.picture import save


def save_pictures(report: Report, folder: Path, formats: Collection[str] = ("png",)) -> list[Path]:
    """Draw every figure of a report into ``folder``, making it where there is none; returns the files.

    ``formats`` are of dropbench.report.render.picture.FORMATS.

    Raises:
        DropbenchError: if a picture cannot be written, or a file that one is made from is damaged.

    """
    return [
        save(figure, folder / f"{figure.name}-{subject.file_name}.{ending}")
        for subject in report.subjects
        for figure in subject.figures
        if not figure.page_only
        for ending in formats
    ]
