"""Rows of finds.csv out of figures, and the finds that they make."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dropbench.report.find.find import Find, make_find
from dropbench.results.schema import FINDS, SCHEMA_VERSION
from dropbench.run.config import SETTINGS, RunConfig

Told = Mapping[str, Any]
SECONDS = 20.0
"""The time of every run."""


def row(
    told: Told, place: int, seed: int, val: float, test: float = math.nan, **cells: Any
) -> dict[str, Any]:
    """One row: ``told`` are settings, with ``arm`` and ``members`` beside them for an arm."""
    settings = {name: value for name, value in told.items() if name in SETTINGS}
    config = RunConfig(**{"model": "mlp", **settings, "seed": seed})
    arm, members = told.get("arm", ""), told.get("members", 1)
    averaged = arm not in ("", "dropout-mc")
    ids = [config.replace(member=number).run_id for number in range(members if averaged else 1)]
    return {
        **dict.fromkeys(FINDS.columns, ""),
        **{name: SETTINGS[name].read_back(value) for name, value in config.settings().items()},
        "p_keep": config.dropout.p_keep,
        "row_id": f"f{place}-{seed}",
        "schema_version": SCHEMA_VERSION,
        "find_id": cells.pop("find_id", "f0f0"),
        "place": place,
        "arm": arm,
        "members": members,
        "budget": "10m",
        "metric": "error",
        "within": 0.2,
        "within_share": 0.02,
        "val_figure": val,
        "test_figure": test,
        "validation_images": 5_000,
        "test_images": 10_000,
        "train_flops": 1e9 * len(ids),
        "prediction_flops": 1e6 * members,
        "passes_per_prediction": members,
        "parameters": 1e5,
        "in_code": told.get("in_code", f"nn.Dropout({config.dropout.p_drop:g}) after fc1"),
        "member_run_ids": " ".join(ids),
        **cells,
    }


def rows(
    entrants: Iterable[tuple[Told, Iterable[float]]], tested: Told | None = None, **cells: Any
) -> list[dict[str, Any]]:
    """Rows of all entrants; each has its settings and its figures on validation by seed."""
    tests = tested or {}
    return [
        row(told, place, seed, val, tests.get(place, math.nan) + 0.01 * seed, **cells)
        for place, (told, by_seed) in enumerate(entrants)
        for seed, val in enumerate(by_seed)
    ]


def find_of(
    entrants: Iterable[tuple[Told, Iterable[float]]], tested: Told | None = None, **cells: Any
) -> Find:
    """The find of the same, whose runs took SECONDS each."""
    made = rows(entrants, tested, **cells)
    ids = {run_id for each in made for run_id in each["member_run_ids"].split()}
    return make_find(made, dict.fromkeys(ids, SECONDS))
