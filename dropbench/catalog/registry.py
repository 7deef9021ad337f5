"""Registry: a mapping from names to entries that suggests the nearest name to a misspelt one."""

from collections.abc import Mapping
from typing import TypeVar

from dropbench.errors import unknown_name

T = TypeVar("T")


class Registry(dict[str, T]):
    """A mapping from names to entries; ``kind`` is the noun for an entry in error messages."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def find(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            UsageError: if there is none; it suggests the nearest name.

        """
        return self[self.check(name)]

    def check(self, name: str) -> str:
        """Return ``name`` if it is known; raise UsageError as ``find`` does if it is not."""
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return name
