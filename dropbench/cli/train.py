"""``dropbench train``: one run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from dropbench.cli.common_flags import DROPOUT, TRAINING, AsJson, option
from dropbench.cli.console import out, tell
from dropbench.cli.flags import P_HELP, Flags
from dropbench.cli.signature import with_flags
from dropbench.run.grammar import parse_probability


@with_flags
def train(
    p: Annotated[str, option("--p", help=P_HELP, panel=DROPOUT)] = "0.5",
    convention: Annotated[
        str,
        option(
            "--convention",
            help="inverted: divide kept units by 1 − p in training. "
            "weight-scaling: multiply all units by 1 − p at test.",
            panel=DROPOUT,
        ),
    ] = "inverted",
    seed: Annotated[int, option("--seed", help="Master seed.", panel=TRAINING, min=0)] = 0,
    as_json: AsJson = False,
    *,
    flags: Flags,
) -> None:
    """Train one net with dropout and evaluate it once on the test set.

    Examples:

        dropbench train --p 0.5

        dropbench train --data mnist --model mlp --layers 800,800 --p 0.5 --p-input 0.2 --max-norm 3
    """
    config = flags.single_config(p_drop=parse_probability(p), convention=convention, seed=seed)
    flags.tell_if_in_vain([config])

    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.workbench import Policy, carry_out
    from dropbench.results.store import Store

    bench = flags.set_up()
    configs = bench.bind([config])
    store = Store(flags.out)
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = carry_out(configs, bench, store, watcher, Policy(force=True))
    (result,) = [*outcome.ok, *outcome.unsuccessful]
    figures = {**result.metrics, **result.cost}
    if as_json:
        content = {
            "run_id": result.config.run_id,
            "status": result.status,
            "message": result.message,
            "config": result.config.row(),
            **figures,
            **result.where,
            "epochs": [vars(record) for record in result.epochs],
            "panel": [vars(record) for record in result.panel],
        }
        out.print_json(json.dumps(_finite(content)), highlight=False)
    elif result.status == "ok":
        _show(result.config.run_id, figures)
        if flags.panel:
            _show_panel(flags.out, result.config.run_id)
    tell(f"recorded as run {result.config.run_id} in {flags.out / 'runs.csv'}")
    exit_for(outcome)


def _show_panel(folder: Path, run_id: str) -> None:
    from dropbench.report.folder import panel_report
    from dropbench.report.render.terminal import show

    if tables := panel_report(folder, {run_id}).tables:
        out.print()
        show(tables, out)


def _finite(content: Any) -> Any:
    """JSON knows no NaN or infinity: they become null, as a diverged loss does."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and content - content != 0 else content


def _show(run_id: str, figures: Mapping[str, Any]) -> None:
    from dropbench.report.render.terminal import show
    from dropbench.report.table import Column, Table

    names = {"error_percent": "error, %", "nll": "NLL, nats", "brier": "Brier", "ece": "ECE"}
    rows = [
        {"title": title, "val": figures[f"val_{name}"], "test": figures[f"test_{name}"]}
        for name, title in names.items()
    ]
    columns = (
        Column("", lambda row: str(row["title"]), left=True),
        Column("validation", lambda row: f"{row['val']:.4f}"),
        Column("test", lambda row: f"{row['test']:.4f}"),
    )
    memory = figures["peak_memory_bytes"]
    notes = (
        f"{figures['parameters']:,.0f} parameters; trained in {figures['train_seconds']:.1f} s at "
        f"{figures['images_per_second']:,.0f} images/s; {figures['seconds']:.1f} s in all"
        + (f"; peak memory {memory / 2**20:,.0f} MiB" if memory is not None else ""),
    )
    show([Table("run", f"Run {run_id}", columns, tuple(rows), notes)], out)
