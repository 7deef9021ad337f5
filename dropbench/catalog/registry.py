"""What can be named: a mapping that knows the nearest name to a misspelt one."""

from collections.abc import Mapping
from typing import TypeVar

from dropbench.errors import unknown_name

T = TypeVar("T")


class Registry(dict[str, T]):
    """Names and what each stands for; ``kind`` is what an error calls one of them."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def find(self, name: str) -> T:
        """The entry of this name.

        Raises:
            UsageError: if there is none; it suggests the nearest.

        """
        return self[self.check(name)]

    def check(self, name: str) -> str:
        """The name itself; raises UsageError as ``find`` does."""
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return name
