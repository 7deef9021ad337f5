"""Runs that were done before in another precision, which makes them other runs."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from dropbench.run.blocks.optimizer import PRECISIONS
from dropbench.run.config import RunConfig
from dropbench.run.telling import counted

_log = logging.getLogger(__name__)


def tell_other_precisions(todo: Iterable[RunConfig], ended: Mapping[str, str]) -> None:
    """Log how many of the runs to do ended well before in another precision, which makes them other runs."""
    found = Counter(
        other
        for config in (todo if ended else ())
        for other in PRECISIONS
        if other != config.optimizer.precision and ended.get(config.replace(precision=other).run_id) == "ok"
    )
    for other, number in found.items():
        are, them = ("is", "it") if number == 1 else ("are", "them")
        runs = counted(number, "run")
        _log.warning(
            f"{runs} of those to do {are} here in {other} already; `precision={other}` goes on with {them}."
        )
