"""Measure the speed, and write the figures of each item to disk before the next one starts."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import torch

from dropbench.engine.device import describe
from dropbench.errors import unknown_name
from dropbench.experiments.speed.items import ITEMS
from dropbench.experiments.speed.session import Figures, open_session
from dropbench.results.schema import SCHEMA_VERSION, SPEED
from dropbench.results.store import Store
from dropbench.runners.choose import cores

_log = logging.getLogger(__name__)

STANDARD = tuple(name for name in ITEMS if name not in ("jobs", "compile"))
"""The items measured by default: ``jobs`` takes minutes, and ``compile`` is for GPUs."""


def check_items(names: Sequence[str]) -> None:
    """Raise UsageError if a name is not that of an item."""
    for name in names:
        if name not in ITEMS:
            raise unknown_name("item", name, ITEMS)


def measure_speed(
    items: Sequence[str], device: torch.device, precision: str, repetitions: int, store: Store
) -> str:
    """Measure ``items``, write their rows to ``store``, and return the speed_id of these rows.

    Raises:
        UsageError: if there is no such item.
        DropbenchError: if a row cannot be written, or a measured run diverges or fails.

    """
    check_items(items)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    where = describe(device)
    del where["threads"]  # each contender has its own number of threads
    session_row = {
        "schema_version": SCHEMA_VERSION,
        "speed_id": hashlib.sha256(f"{started_at} {where}".encode()).hexdigest()[:12],
        **where,
        "cores": cores(),
        "precision": precision,
        "started_at": started_at,
    }
    with open_session(device, precision, repetitions) as session:
        for number, name in enumerate(items, start=1):
            purpose = (ITEMS[name].__doc__ or "").partition("\n")[0]
            _log.info(f"[{number}/{len(items)}] {name}: {purpose}")
            store.append_rows(SPEED, ({**session_row, **_cells(f)} for f in ITEMS[name](session)))
    return str(session_row["speed_id"])


def _cells(figures: Figures) -> dict[str, str]:
    values = " ".join(f"{value:.6g}" for value in figures.values)
    return {**vars(figures), "values": values}
