"""The declaration of a setting: all that the house knows of one field of a run, beside the field itself.

Flags, environment variables, ``--config``, checks, columns, grouping into sweeps, titles, the command that
makes a run again and the table in docs/files.md are made from these declarations.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, cast

from dropbench.errors import UsageError, unknown_name

PROBABILITY = "p is the probability of dropping a unit: at least 0 and below 1."


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a setting may be; each end is left out where it is infinite."""

    least: float = -math.inf
    above: float = -math.inf
    """Like ``least``, but not this number itself."""
    below: float = math.inf
    hint: str = ""

    def holds(self, value: float) -> bool:
        """Whether ``value`` is one of them; NaN never is."""
        return self.least <= value < self.below and value > self.above

    def text(self) -> str:
        """The numbers in words, as an instruction."""
        if self.hint:
            return self.hint
        if self.below < math.inf:
            return f"Write a number from {self.least:g} up to, not including, {self.below:g}."
        return f"Write {self.least:g} or more." if self.above == -math.inf else "Write a number above 0."


_KINDS: dict[Any, str] = {
    **dict.fromkeys((int, int | None), "a whole number"),
    **dict.fromkeys((float, float | None), "a number"),
    **dict.fromkeys((str, str | None), "text"),
    bool: "true or false",
    tuple[int, ...]: "whole numbers, like (800, 800)",
}
COUNT = Range(least=1)
NOT_NEGATIVE = Range(least=0)
POSITIVE = Range(above=0)
DROP_PROBABILITY = Range(least=0, below=1, hint=PROBABILITY)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One field of a run or of how it is carried out.

    ``name`` is the keyword of a call and the column of runs.csv; ``attribute`` the field of its block.
    """

    name: str = ""
    attribute: str = ""
    type: Any = None
    default: Any = None
    help: str
    """One sentence, for ``--help`` and docs/files.md."""
    flag: str = ""
    """The option of the command line; empty for a setting that no user makes."""
    panel: str = ""
    """The panel of the help page that has the flag."""
    commands: tuple[str, ...] = ()
    """The commands that take the flag; empty for all that train."""
    parse: Callable[[str, str], Sequence[Any]] | None = None
    """Makes the values of a list that a sweep takes, from its text and the setting's name; None: no lists."""
    write: Callable[[Sequence[Any]], str] | None = None
    """Makes the text of several values again, where commas do not part them."""
    canonical: Callable[[Any], Any] | None = None
    """Makes the one form of a value that people write in several."""
    choices: Sequence[str] = ()
    """All there are, or where ``open_ended`` the names among what there is."""
    open_ended: bool = False
    range: Range | None = None
    from_recipe: bool = False
    """The default is the model's; see dropbench.catalog.models."""
    today: Any = None
    """The default of new runs, where it is no longer ``default``, which recorded rows mean."""
    says_default: str = ""
    """Says what the default is, where it is no single value."""
    empty: str = ""
    """The word for None on the command line and in a table."""
    of_source: bool = False
    """Says where the data come from, or how they are made of it: the data's digest stands for it."""
    of_dropout: bool = False
    """Changes nothing where no unit is dropped."""
    axis: int = 0
    """The place among the axes of a sweep; runs that differ in an axis alone share a table. 0: no axis."""
    groups: bool = True
    """Tells runs apart. One that is no axis parts tables; False: seeds, members and what is only kept."""
    title: str = ""
    """Heads its column in a table."""
    label: str = ""
    """Names its axis in a picture."""
    words: str = ""
    """Says its value in a title, ``{}`` is the value; empty: ``title {}``."""
    always: bool = False
    """Titles say it even where it has its usual value."""
    tuned: bool = False
    """Several values in a sweep are trials: every setting has all of them, and is shown at its own best."""
    since: str = "0.1"
    """The version of dropbench that wrote it first; rows of older ones have the default."""

    @property
    def untold(self) -> Any:
        """The default of new runs, unless it is the model's."""
        return self.default if self.today is None else self.today

    @property
    def is_number(self) -> bool:
        """Whether its cells hold numbers rather than text."""
        return self.type in (int, float, int | None, float | None)

    def take(self, value: Any) -> Any:
        """The value in the setting's type: 3 and 3.0 are one setting, and so are numpy's numbers.

        Raises:
            UsageError: for a value of another type.

        """
        if value is None:
            return None
        value = self.canonical(value) if self.canonical is not None else value
        value = value.item() if hasattr(value, "item") else value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.type in (int, int | None) and number and math.isfinite(value) and value == int(value):
            return int(value)
        if self.type in (float, float | None) and number:
            return float(value)
        if self.type in (bool, str, str | None) and isinstance(value, bool if self.type is bool else str):
            return value
        if self.type == tuple[int, ...] and isinstance(value, list | tuple) and all(map(_is_index, value)):
            return tuple(map(int, value))
        raise UsageError(f"`{self.name}` is {value!r}.", f"Write {_KINDS[self.type]}.")

    def check(self, value: Any) -> None:
        """Raise UsageError for a value that is no choice or out of range."""
        if self.choices and not self.open_ended and value not in self.choices:
            raise unknown_name(self.name.replace("_", " "), str(value), self.choices)
        if self.range is not None and value is not None and not self.range.holds(value):
            raise UsageError(f"`{self.name}` is {value}.", self.range.text())

    def offered_by(self, command: str) -> bool:
        """Whether a command has a flag for it."""
        return bool(self.flag) and (not self.commands or command in self.commands)

    def cell(self, value: Any) -> Any:
        """The value as a cell of a CSV file: lists are joined by commas."""
        return ",".join(map(str, value)) if isinstance(value, tuple) else value

    def takes_list_in(self, command: str) -> bool:
        """Whether a command takes several values of it; trials are for those that choose."""
        return self.parse is not None and (not self.tuned or command in ("sweep", "find"))

    def read_back(self, value: Any) -> Any:
        """The value as a reader of that file has it: numbers are float (None: NaN), all else is text."""
        if self.is_number:
            return math.nan if value is None else float(value)
        return "" if value is None else str(self.cell(value))

    def value(self, cell: Any) -> Any:
        """The value of a cell that was read back."""
        if self.is_number:
            if math.isnan(cell):
                return None
            return int(cell) if self.type in (int, int | None) else float(cell)
        if self.type is bool:
            return cell == "True"
        if self.type is str:
            return cell
        return tuple(int(part) for part in cell.split(",") if part)

    def text(self, value: Any) -> str:
        """The value as people write it, on the command line or in a title."""
        if value is None:
            return self.empty
        return f"{value:.12g}" if isinstance(value, float) else str(self.cell(value))

    def said(self, value: Any) -> str:
        """The value in words, as titles and labels say it."""
        if value is True:
            return self.title
        words, text = self.words or f"{self.title} {{}}", self.text(value)
        if text == "1" and words.startswith("{} "):
            words = words.removesuffix("s")
        return words.format(text.replace(",", "-") if self.type == tuple[int, ...] else text)


def setting(default: Any = None, **declared: Any) -> Any:
    """A field of a block with its declaration, by the fields of Declaration."""
    return field(default=default, metadata={"setting": Declaration(**declared, default=default)})


def _is_index(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


@functools.cache
def settings_of(block: Any) -> tuple[Declaration, ...]:
    """The settings of a block, a dataclass whose every field is one.

    Raises:
        TypeError: for a field that declares nothing.

    """
    return tuple(_named(each, block) for each in fields(block))


def _named(declared: Field[Any], block: Any) -> Declaration:
    if "setting" not in declared.metadata or declared.default is MISSING:
        raise TypeError(f"{block.__name__}.{declared.name} says nothing of itself: declare it by setting().")
    said: Declaration = declared.metadata["setting"]
    name = said.name or declared.name
    title = said.title or name.replace("_", " ")
    return replace(said, name=name, attribute=declared.name, type=declared.type, title=title)


class Block:
    """Base of the blocks: every field is checked by its declaration when a block is made."""

    def __post_init__(self) -> None:
        for each in settings_of(cast(Any, type(self))):
            value = each.take(getattr(self, each.attribute))
            object.__setattr__(self, each.attribute, value)
            each.check(value)
        self.check()

    def check(self) -> None:
        """Raise UsageError for fields that do not fit one another."""
