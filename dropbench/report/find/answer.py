"""The answer of a find, for scripts."""

import math
from typing import Any

from dropbench.report.find import command
from dropbench.report.find.find import Find


def answer(find: Find) -> dict[str, Any]:
    """The answer as plain values that JSON has; None for what there is not."""
    best, race = find.best, find.race
    found: dict[str, Any] = {
        "decided": race.decided,
        "metric": find.metric.name,
        "within": _plain(find.margin),
        "best": None,
        "flags": None,
        "in_code": None,
        "val": None,
        "test": None,
        "seeds": race.seeds,
        "states": {find.label(each): find.state(each) for each in find.ranked},
        "runs": len(find.run_ids),
        "seconds": _plain(find.took),
    }
    if best is not None:
        test = find.test(best)
        found |= {
            "best": {**find.varied(best), "arm": best.arm or None, "members": best.members},
            "flags": command.flags(find, best),
            "in_code": best.in_code or None,
            "val": _plain(find.mean(best)),
            "test": {"mean": _plain(test.mean), "low": _plain(test.low), "high": _plain(test.high)},
        }
    return found


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
