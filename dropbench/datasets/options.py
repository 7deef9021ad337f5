"""SourceOptions: how a data set is to be made of its source, as a user told it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dropbench.datasets.column import Column
from dropbench.errors import UsageError
from dropbench.run.blocks.data import CLASSIFICATION, CROP, TEST_SHARE

_LARGEST_SIDE = 10_000
_NO_OPTIONS = {"columns", "given"}  # the fields that no user tells


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Settings of a run that say how its data are made; see dropbench.run.blocks.data for each."""

    task: str = CLASSIFICATION
    target: str = ""
    test_file: str = ""
    test_share: float = TEST_SHARE
    image_size: str = ""
    fit: str = CROP
    skip_unreadable: bool = False
    columns: tuple[Column, ...] = ()
    """The columns that a table is to have, those of a net, whatever its own rows hold; empty: its own."""
    given: frozenset[str] = frozenset()
    """The names of the options that were told, those with an unusual value among them."""

    def __post_init__(self) -> None:
        """Raise UsageError for an image size that is none."""
        _ = self.height_and_width
        unusual = {each.name for each in fields(self) if getattr(self, each.name) != each.default}
        object.__setattr__(self, "given", self.given | (unusual - _NO_OPTIONS))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "SourceOptions":
        """Take the options out of settings by their names."""
        told = {name: settings[name] for name in OPTIONS if name in settings}
        return cls(**told, given=frozenset(told))

    @property
    def told(self) -> dict[str, Any]:
        """The options that were told, by their names."""
        return {name: getattr(self, name) for name in OPTIONS if name in self.given}

    @property
    def identity_of_columns(self) -> str:
        """Text that tells tables with these columns from others; empty where a table has its own."""
        return repr(self.columns) if self.columns else ""

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """The size that images are to have, in pixels; None where it was not told."""
        if not self.image_size:
            return None
        found = re.fullmatch(r"\s*(\d{1,5})(?:\s*[x×]\s*(\d{1,5}))?\s*", self.image_size)
        if found is None or not all(1 <= int(side) <= _LARGEST_SIDE for side in found.groups() if side):
            raise UsageError(
                f"`image_size` is {self.image_size!r}.",
                f"Write 64, or height and width like 64x96, of at most {_LARGEST_SIDE:,} pixels.",
            )
        height = int(found[1])
        return height, int(found[2] or height)


def resolved(path: str) -> Path:
    """Return a path that was told as an absolute one, with ``~`` expanded."""
    return Path(path).expanduser().resolve()


def shown(path: str) -> str:
    """Return a path as text that any file can hold: bytes that are no letters are escaped."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


OPTIONS = tuple(each.name for each in fields(SourceOptions) if each.name not in _NO_OPTIONS)
NO_OPTIONS = SourceOptions()
