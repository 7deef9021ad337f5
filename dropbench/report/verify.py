"""The table of checks against mathematics."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from dropbench.report.subject import Subject
from dropbench.report.table import Column, Table


@dataclass(frozen=True, eq=False)
class VerifySubject(Subject):
    """The checks that were made at one time: their rows of checks.csv."""

    checks: pd.DataFrame
    kind = "verify"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all checks."""
        return (check_table(self.checks),)


def find_checks(checks: pd.DataFrame) -> list[VerifySubject]:
    """The times that checks were made, among the rows of checks.csv."""
    return [VerifySubject(rows) for _, rows in checks.groupby("verify_id", sort=False)]


def check_table(rows: pd.DataFrame) -> Table:
    """A row for every check."""
    names = ("check", "theory", "expected", "measured", "tolerance", "unit", "passed")
    columns = (
        Column("check", lambda row: row["check"], left=True),
        Column("passed", lambda row: "pass" if row["passed"] == "yes" else "FAIL", left=True),
        Column("expected", lambda row: f"{row['expected']:.3g}"),
        Column("measured", lambda row: f"{row['measured']:.3g}"),
        Column("tolerance", lambda row: f"{row['tolerance']:.2g}"),
        Column("in", lambda row: row["unit"], left=True),
        Column("theory", lambda row: row["theory"], left=True),
    )
    found = tuple({name: row[name] for name in names} for _, row in rows.iterrows())
    failed = sum(row["passed"] != "yes" for row in found)
    verdict = f"{failed} of {len(found)} checks fail." if failed else f"All {len(found)} checks pass."
    first = rows.iloc[0]
    title = f"Dropout against mathematics, on {first['device_name']}, torch {first['torch_version']}"
    note = (
        "Statistical checks are given in standard errors of the theory: a true property deviates by "
        "more than five once in two million. The others are equalities, to rounding."
    )
    return Table("verify", title, columns, found, (verdict, note))
