"""``dropbench doctor``: what is well on this machine, what is not, and how it is mended."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dropbench.cli.console import present
from dropbench.cli.options import OF_MACHINE, AsJson, DataDir, Keywords, Out, takes
from dropbench.cli.spoken import spoken

if TYPE_CHECKING:
    from dropbench.experiments.finding import Finding
    from dropbench.report.table import Row, Table

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


@takes("doctor", OF_MACHINE)
def doctor(
    data_dir: DataDir = None,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Find what is wrong with this installation and machine, and say how it is mended.

    Versions and whether they fit each other, GPU and driver, precision, cores, folders and disks; and two
    steps of training. Some seconds. Ends with 1 if there is a problem.

    Examples:

        dropbench doctor

        dropbench doctor --device cpu --data-dir ~/data --json
    """
    from dropbench.experiments.doctor import examine

    findings = list(examine(folder, data_dir, given.get("device", "auto"), given.get("precision", "auto")))
    present([_table(findings)], as_json)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _table(findings: "Sequence[Finding]") -> "Table":
    from dropbench.report.table import Column, Table

    counts = Counter(finding.state for finding in findings)
    problems, notes = counts["problem"], counts["note"]
    verdict = (
        f"{problems or 'No'} problem{'' if problems == 1 else 's'}, "
        f"{notes or 'no'} note{'' if notes == 1 else 's'}; the other findings, {counts['ok']}, are ok."
    )
    columns = (
        Column("what", lambda row: str(row["name"]), left=True),
        Column("state", lambda row: str(row["state"]), left=True, style=lambda row: _STYLES[row["state"]]),
        Column("found, and what mends it", _found, left=True),
    )
    # What leads a table is never folded away from the rest: these three stay together at any width.
    return Table(
        "doctor",
        "This installation and this machine",
        columns,
        tuple({**vars(each), "value": spoken(each.value), "mend": spoken(each.mend)} for each in findings),
        verdict=(verdict,),
        lead=2,
    )


def _found(row: "Row") -> str:
    return f"{row['value']}\nmend: {row['mend']}" if row["mend"] else str(row["value"])
