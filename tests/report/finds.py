"""Rows of finds.csv out of figures, and the finds that they make."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dropbench.report.find.find import Find, make_find
from dropbench.results.csv_file import append_rows
from dropbench.results.rows import run_row
from dropbench.results.schema import FINDS, RUNS, SCHEMA_VERSION
from dropbench.run.config import SETTINGS, RunConfig
from dropbench.run.result import RunResult

Told = Mapping[str, Any]
Entrants = Sequence[tuple[Told, Iterable[float]]]
"""The settings of each, with ``arm`` and ``members`` beside them for an arm, and its figures by seed."""
SECONDS = 30.0
"""The time of every run."""
BESIDE_TEST = 0.5
"""How far a figure on the test examples is above that on validation."""


def configs_of(told: Told, seed: int) -> list[RunConfig]:
    """The runs of an entrant for one seed."""
    settings = {name: value for name, value in told.items() if name in SETTINGS}
    config = RunConfig(**{"model": "mlp", **settings, "seed": seed})
    several = told.get("arm", "") in ("ensemble", "bagging")
    return [config.replace(member=number) for number in range(told.get("members", 1) if several else 1)]


def row_of(told: Told, place: int, seed: int, val: float, tested: bool, **cells: Any) -> dict[str, Any]:
    """One row, as a reader of the file has it; ``cells`` are others that it shall have."""
    runs = configs_of(told, seed)
    members = told.get("members", math.nan)
    passes = 1 if math.isnan(members) else members
    find_id = cells.get("find_id", "f1")
    return {
        **dict.fromkeys(FINDS.columns, ""),
        **{name: SETTINGS[name].read_back(value) for name, value in runs[0].settings().items()},
        "p_keep": runs[0].dropout.p_keep,
        "row_id": f"{find_id}-{place}-{seed}",
        "schema_version": SCHEMA_VERSION,
        "find_id": find_id,
        "place": place,
        "arm": told.get("arm", ""),
        "members": members,
        "budget": "10m",
        "metric": "error",
        "within": 0.2,
        "within_share": 0.02,
        "val_figure": val,
        "test_figure": val + BESIDE_TEST if tested else math.nan,
        "validation_images": math.nan if math.isnan(val) else 5_000,
        "test_images": math.nan if math.isnan(val) else 10_000,
        "train_flops": 1e9 * len(runs),
        "prediction_flops": 1e6 * passes,
        "passes_per_prediction": passes,
        "in_code": f"nn.Dropout({runs[0].dropout.p_drop:g}) after each hidden layer",
        "member_run_ids": " ".join(run.run_id for run in runs),
        "message": f"seed {seed} diverged: the loss is nan" if math.isnan(val) else "",
        **cells,
    }


def rows_of(entrants: Entrants, tested: Iterable[int] = (), **cells: Any) -> list[dict[str, Any]]:
    """The rows of all entrants; those of the places ``tested`` have figures on the test examples."""
    chosen = set(tested)
    return [
        row_of(told, place, seed, val, place in chosen, **cells)
        for place, (told, by_seed) in enumerate(entrants)
        for seed, val in enumerate(by_seed)
    ]


def find_of(entrants: Entrants, tested: Iterable[int] = (), **cells: Any) -> Find:
    """The find of these, whose runs took SECONDS each."""
    rows = rows_of(entrants, tested, **cells)
    ids = {run_id for row in rows for run_id in row["member_run_ids"].split()}
    return make_find(rows, dict.fromkeys(ids, SECONDS))


def raced(entrants: Entrants) -> list[tuple[Told, list[float]]]:
    """The same, each with the figures alone that a race of them comes to: it leaves out, and ends."""
    all_figures = [list(by_seed) for _, by_seed in entrants]
    had: list[list[float]] = [figures[:1] for figures in all_figures]
    while True:
        made = [(told, figures) for (told, _), figures in zip(entrants, had, strict=True)]
        wanted = find_of(made).race.wanted
        if not wanted or any(seed >= len(all_figures[number]) for number, seed in wanted):
            return made
        for number, seed in wanted:
            had[number].append(all_figures[number][seed])


def write_find(folder: Any, entrants: Entrants, tested: Iterable[int] = (), **cells: Any) -> None:
    """Write the rows of a find into a folder, and those of its runs."""
    folder.mkdir(exist_ok=True)
    append_rows(folder, FINDS, rows_of(entrants, tested, **cells))
    runs = {}
    for told, by_seed in entrants:
        for seed, val in enumerate(by_seed):
            for config in configs_of(told, seed):
                figures = {"val_error_percent": val, "test_error_percent": val + BESIDE_TEST}
                lost = math.isnan(val)
                result = RunResult(
                    config,
                    "diverged" if lost else "ok",
                    metrics={} if lost else figures,
                    cost={"seconds": SECONDS, "validation_images": 5_000, "test_images": 10_000},
                )
                runs[config.run_id] = run_row(result, "")
    append_rows(folder, RUNS, list(runs.values()))


def at(mean, seeds, spread=0.02):
    """Figures of a setting by seed, which go up and down in a way of their own by ``spread``."""
    ways = (1, -1, 0.5, -0.5, 0, 1, -1, 0.5, -0.5, 0, 1, -1)
    turn = round(mean * 7) % len(ways)
    return [mean + spread * way for way in (*ways[turn:], *ways[:turn])[:seeds]]


DECIDED = raced(
    [({"p_drop": p}, at(mean, 9)) for p, mean in ((0.0, 3.0), (0.3, 1.88), (0.5, 1.90), (0.8, 4.9))]
)
OPEN = [({"p_drop": p}, at(mean, 4, 0.3)) for p, mean in ((0.2, 1.88), (0.3, 1.95), (0.4, 1.7))]
ENSEMBLE = raced(
    [
        ({"p_drop": 0.0}, at(3.0, 9)),
        ({"p_drop": 0.5}, at(2.2, 9)),
        ({"p_drop": 0.0, "arm": "ensemble", "members": 5}, at(1.5, 9)),
        ({"p_drop": 0.5, "arm": "dropout-mc", "members": 20}, at(2.1, 9)),
    ]
)
RATES = raced(
    [
        ({"p_drop": p, "learning_rate": rate}, at(mean, 9))
        for p, rate, mean in ((0.0, 0.1, 3.0), (0.3, 0.1, 2.0), (0.3, 0.2, 1.8), (0.5, 0.2, 2.4))
    ]
)
