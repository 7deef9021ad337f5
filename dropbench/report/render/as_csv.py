"""CSV: the numbers of every table at full precision, with a column that names the table.

Text that a spreadsheet would take for a formula has an apostrophe before it.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

from dropbench.report.table import Table

_OF_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How formulas begin in spreadsheets, some of which take the wide letters of Japanese for the others."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


def render(tables: Sequence[Table]) -> str:
    """One header over the columns of all tables; a number that is missing is an empty cell."""
    rows = [{"table": table.title, **row} for table in tables for row in table.numbers()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return ""
    if (
        not isinstance(value, str)
        or not value.lstrip(" ").startswith(_OF_FORMULAS)
        or _NUMBER.fullmatch(value)
    ):
        return value
    return f"'{value}"
