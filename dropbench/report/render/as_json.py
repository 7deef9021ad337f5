"""JSON: ``{"tables": [{"kind", "title", "rows": [{name: number}], "verdict", "notes"}]}``.

A missing number is null, and what the CSV files call True and False is true and false. A command that gives
an answer has that before its tables.
"""

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dropbench.report.table import Table


def render(tables: Sequence[Table], answer: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The numbers of every table at full precision, after the entries of an answer."""
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
    return json.dumps({**_plain(dict(answer)), "tables": content}, indent=2, ensure_ascii=False) + "\n"


def _plain(cell: Any) -> Any:
    if isinstance(cell, dict):
        return {name: _plain(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_plain(value) for value in cell]
    if hasattr(cell, "item"):  # a numpy number
        cell = cell.item()
    if cell in ("True", "False"):
        return cell == "True"
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
