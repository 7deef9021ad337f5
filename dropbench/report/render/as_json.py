"""JSON: ``{"tables": [{"kind", "title", "rows": [{name: number}], "verdict", "notes"}]}``.

A missing number is null, and what the CSV files call True and False is true and false.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from dropbench.report.table import Table


def render(tables: Sequence[Table]) -> str:
    """The numbers of every table at full precision."""
    content = [
        {
            "kind": table.kind,
            "title": table.title,
            "rows": [{name: _plain(cell) for name, cell in row.items()} for row in table.numbers()],
            "verdict": list(table.verdict),
            "notes": list(table.notes),
        }
        for table in tables
    ]
    return json.dumps({"tables": content}, indent=2, ensure_ascii=False) + "\n"


def _plain(cell: Any) -> Any:
    if hasattr(cell, "item"):  # a numpy number
        cell = cell.item()
    if cell in ("True", "False"):
        return cell == "True"
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
