"""A finding of ``dropbench doctor``."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]
BUILDS = "https://pytorch.org/get-started/locally/"  # lists the builds of torch and their indexes
LONGEST = 300  # characters quoted from another program or library


@dataclass(frozen=True)
class Finding:
    """The state of one thing, and how to mend it.

    ``note`` marks a thing that works, but slowly or not in full; ``problem`` one that does not work.
    """

    name: str
    value: str
    state: State = "ok"
    mend: str = ""
