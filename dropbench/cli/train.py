"""``dropbench train``: one run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.cli.console import out, present, tell
from dropbench.cli.options import (
    OF_MACHINE,
    OF_RUNS,
    AsJson,
    Data,
    DataDir,
    Keywords,
    Out,
    Panel,
    Save,
    takes,
)  # fmt: skip

if TYPE_CHECKING:
    from dropbench.run.result import RunResult


@takes("train", OF_RUNS, OF_MACHINE, p_drop="0.5")
def train(
    data: Data = "mnist5k",
    data_dir: DataDir = None,
    panel: Panel = False,
    save: Save = None,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Train one net with dropout and evaluate it once on the test set.

    Examples:

        dropbench train --p 0.5

        dropbench train --p 0.5 --save net.safetensors

        dropbench train --data mnist --model mlp --layers 800,800 --p 0.5 --p-input 0.2 --max-norm 3
    """
    import dropbench as db
    from dropbench.cli.finish import exit_for, working

    with working(folder) as watcher:
        done = db.train(data, panel=panel, save=save, out=folder, data_dir=data_dir, watcher=watcher, **given)
    if as_json:
        out.print_json(json.dumps(_finite(_content(done.result))), highlight=False)
    elif done.result.status == "ok":
        present(done.tables, as_json=False)
    tell(f"recorded as run {done.result.config.run_id} in {folder / 'runs.csv'}")
    if save is not None and done.result.status == "ok":
        tell(f"net: {save}")
    exit_for(done.outcome)


def _content(result: "RunResult") -> dict[str, Any]:
    return {
        "run_id": result.config.run_id,
        "status": result.status,
        "message": result.message,
        "config": result.config.row(),
        **result.metrics,
        **result.cost,
        **result.where,
        "epochs": [vars(record) for record in result.epochs],
        "panel": [vars(record) for record in result.panel],
    }


def _finite(content: Any) -> Any:
    """The content with null for NaN and infinity, which JSON does not know."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and content - content != 0 else content
