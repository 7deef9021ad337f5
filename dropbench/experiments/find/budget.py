"""The budget of a find: a time, or a number of runs."""

import math
import re
from dataclasses import dataclass

from dropbench.errors import UsageError
from dropbench.run.grammar import parse_duration

_RUNS = re.compile(r"(\d+)\s*runs?", re.IGNORECASE)
_HINT = "Write a time, like 10m, 2h or 1h30m, or a number of runs, like '30 runs'."


@dataclass(frozen=True)
class Budget:
    """The training that one call may spend; runs that are recorded already cost nothing.

    One of the two is infinite.
    """

    seconds: float = math.inf
    runs: float = math.inf
    text: str = ""
    """The words that told it, with single spaces."""

    @classmethod
    def parse(cls, told: str | int) -> "Budget":
        """Read ``10m``, ``2h`` or ``30 runs``; a whole number is one of runs.

        Raises:
            UsageError: for another text, or no runs at all.

        """
        if isinstance(told, bool) or not isinstance(told, str | int):
            raise UsageError(f"`budget` is {told!r}.", _HINT)
        text = f"{told} runs" if isinstance(told, int) else " ".join(told.split())
        if found := _RUNS.fullmatch(text):
            if not (runs := int(found[1])):
                raise UsageError(f"`budget` is {text}.", "Write one run or more.")
            return cls(runs=runs, text=text)
        try:
            return cls(seconds=parse_duration(text, "budget"), text=text)
        except UsageError as error:
            raise UsageError(error.message, _HINT) from None
