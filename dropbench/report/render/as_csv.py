"""CSV: the numbers of every table at full precision, with a column that names the table."""

import csv
import io
import math
from collections.abc import Sequence

from dropbench.report.table import Table


def render(tables: Sequence[Table]) -> str:
    """One header over the columns of all tables; a number that is missing is an empty cell."""
    rows = [{"table": table.title, **row} for table in tables for row in table.numbers()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return buffer.getvalue()
