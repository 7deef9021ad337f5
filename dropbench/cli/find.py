"""``dropbench find``: the best setting, in the time there is, and how sure that is."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropbench.cli.console import err, plain_progress, present, tell
from dropbench.cli.options import (
    COMPARISON,
    DROPOUT,
    OF_MACHINE,
    OF_POLICY,
    OF_RUNS,
    AsJson,
    Data,
    DataDir,
    Keywords,
    Out,
    option,
    takes,
)  # fmt: skip

if TYPE_CHECKING:
    from dropbench.api.find import Expected

UNDECIDED = 5


@takes("find", OF_RUNS, OF_MACHINE, OF_POLICY, lists=True, p_drop="0.1..0.8")
def find(
    data: Data = "mnist5k",
    data_dir: DataDir = None,
    baseline: Annotated[
        bool,
        option("--baseline/--no-baseline", "The net without dropout is a candidate, too.", DROPOUT),
    ] = True,
    budget: Annotated[
        str,
        option(
            "--budget",
            "What this call may spend: a time, like 10m, 2h or 1h30m, or a number of runs, like '30 runs'. "
            "Runs that are done already cost nothing, so the same command goes on.",
            COMPARISON,
            metavar="TIME|'N runs'",
        ),
    ] = "10m",
    within: Annotated[
        str | None,
        option(
            "--within",
            "A difference that does not matter, in points of the error or the metric's unit, or as a share "
            "of the best's, like 2%.",
            COMPARISON,
            metavar="X|X%",
            show_default="0.2 points or 2 % of the error, whichever is larger",
        ),
    ] = None,
    candidates: Annotated[
        str,
        option(
            "--candidates",
            "Take part, too: arms of compare-bagging with their number of nets or passes, like "
            "ensemble:5,bagging:5,dropout-mc:20, at their true cost.",
            COMPARISON,
            metavar="ARM:N,…",
            show_default="none",
        ),
    ] = "",
    metric: Annotated[
        str | None,
        option(
            "--metric",
            "Choose by this metric: error, nll, brier or ece; of a regression rmse, nll or coverage.",
            COMPARISON,
            show_default="error, of a regression rmse",
        ),
    ] = None,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Find the best p, or any other setting, in the time there is, and say how sure that is.

    Options whose value ends in ,… take lists, and every combination is a candidate. All start on the same
    seeds. After each seed those that are worse on validation beyond doubt are left out, and the time goes to
    those that may still be better than the best by more than --within. The test images are looked at once,
    at the end.

    The answer is decided when nothing else can be better by more than --within: exit code 0. Where the budget
    ended it before, the exit code is 5, and the same command goes on. It may be repeated and looked at as
    often as wanted: the 95 % hold for all looks together.

    Examples:

        dropbench find --budget 10m

        dropbench find --p 0..0.8 --learning-rate 0.005,0.02 --budget 2h --within 0.3

        dropbench find --p 0.2,0.5 --candidates ensemble:5,dropout-mc:20 --budget '60 runs'
    """
    import dropbench as db
    from dropbench.cli.finish import FAILED_RUNS, draw_pictures, exit_for, tell_unsuccessful, working

    def on_estimate(measure: "Callable[[], Expected]") -> None:
        if plain_progress():
            tell(str(measure()))
            return
        with err.status("measuring what a run takes here"):
            expected = measure()
        tell(str(expected))

    with working(folder) as watcher:
        done = db.find(
            data, budget=budget, candidates=candidates, within=within, metric=metric or "", baseline=baseline,
            out=folder, data_dir=data_dir, watcher=watcher, on_estimate=on_estimate, on_look=watcher.looked,
            **given,
        )  # fmt: skip
    if done.found is None:
        if as_json:
            present((), as_json, done.answer)
        tell(f"The budget was spent before each candidate had a run. runs: {folder / 'runs.csv'}")
        exit_for(done.outcome)
        raise typer.Exit(UNDECIDED)
    present(done.tables, as_json, done.answer)
    for picture in draw_pictures(done.report, done.out, ("png",)):
        tell(f"picture: {picture}")
    tell(f"find: {folder / 'finds.csv'}; its runs: {folder / 'runs.csv'}")
    tell_unsuccessful(done.outcome)
    if done.found.best is None:
        raise typer.Exit(FAILED_RUNS)
    if not done.decided:
        raise typer.Exit(UNDECIDED)
