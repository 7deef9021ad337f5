"""A report inside a notebook: its verdicts, tables and pictures as a piece of HTML."""

from dropbench.report.folder import Report
from dropbench.report.page.build import picture_of, templates


def fragment(report: Report) -> str:
    """The report as HTML without a script; what comes from results is escaped.

    Raises:
        DropbenchError: if a file that a figure is made from is damaged.

    """
    shown = [
        (subject, [picture_of(figure) for figure in subject.figures if not figure.page_only])
        for subject in report.subjects
    ]
    return templates().get_template("notebook.html").render(shown=shown)
