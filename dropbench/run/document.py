"""The table of settings in docs/files.md, made from their declarations.

``python -m dropbench.run.document`` prints it; with ``--write FILE`` it replaces the part of a Markdown file
between the two marker comments.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from dropbench.catalog.models import defaults_of
from dropbench.errors import DropbenchError
from dropbench.run.config import SETTINGS
from dropbench.run.setting import Declaration, Range

BEGIN = "<!-- settings: made by python -m dropbench.run.document --write docs/files.md -->"
END = "<!-- end of settings -->"
_HEADER = ("column", "flag", "default", "values", "what it is")


def settings_table() -> str:
    """Every setting of a run as a Markdown table, in the order of the columns of runs.csv."""
    rows = [_HEADER, ("---",) * len(_HEADER), *map(_row, SETTINGS.values())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def with_settings_table(document: str) -> str:
    """The document with the table between its two markers.

    Raises:
        DropbenchError: if the markers are not there, once each and in order.

    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before:
        raise DropbenchError(
            "The document has no place for the table.", f"Write {BEGIN} and {END} once each."
        )
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


def _row(each: Declaration) -> tuple[str, ...]:
    flag = f"`{each.flag}`" if each.flag else ""
    return (f"`{each.name}`", flag, _default(each), _values(each), each.help.replace("|", r"\|"))


def _default(each: Declaration) -> str:
    """The default; where the models differ, each value with the models that have it."""
    if each.says_default:
        return each.says_default
    if not each.from_recipe:
        return _code(each.text(each.untold))
    by_value = {_code(each.text(value)): models for value, models in defaults_of(each.name).items()}
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} for {', '.join(models)}" for value, models in by_value.items())


def _values(each: Declaration) -> str:
    """The choices, the range, or the kind of value."""
    if each.choices:
        return ", ".join(map(_code, each.choices)) + (", or another" if each.open_ended else "")
    if each.type is bool:
        return "`True`, `False`"
    if not each.is_number:
        return "text" if each.type is str else "numbers with commas between them"
    kind = "whole number" if each.type in (int, int | None) else "number"
    return f"{kind} {_bounds(each.range)}".rstrip() if each.range else kind


def _bounds(within: Range) -> str:
    """The ends of a range, as `≥ 0 and < 1`."""
    ends = [
        f"{sign} {end:g}"
        for sign, end in (("≥", within.least), (">", within.above), ("<", within.below))
        if math.isfinite(end)
    ]
    return " and ".join(ends)


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or write it into a document."""
    parser = argparse.ArgumentParser(
        prog="python -m dropbench.run.document", description=settings_table.__doc__
    )
    parser.add_argument(
        "--write",
        metavar="FILE",
        type=Path,
        help="replace the table in this Markdown file, between its markers",
    )
    file = parser.parse_args(arguments).write
    if file is None:
        print(settings_table())
        return
    try:
        file.write_text(with_settings_table(file.read_text(encoding="utf-8")), encoding="utf-8")
    except (DropbenchError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
