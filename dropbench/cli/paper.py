"""``dropbench paper``: the experiments of the lecture and of the 2014 paper."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from dropbench.cli.common_flags import DATA, TRAINING, AsJson, option
from dropbench.cli.console import err, plain_progress, present, tell
from dropbench.cli.pool_flags import PoolFlags
from dropbench.cli.signature import with_flags

if TYPE_CHECKING:
    from dropbench.report.table import Row, Table

LIST = "list"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, kw_only=True)
class PaperFlags(PoolFlags):
    """What every command of many runs can be told, whose settings are given."""

    data: Annotated[
        str,
        option(
            "--data",
            "auto (the set that the experiment names), or any data set of dropbench sweep in its place.",
            DATA,
        ),
    ] = "auto"


@with_flags
def paper(
    name: Annotated[
        str, typer.Argument(help="An experiment, or list: what there is, what it shows and costs.")
    ] = LIST,
    scale: Annotated[
        str,
        option(
            "--scale",
            "full (towards the original), small (for a few cores, on MNIST minutes) or smoke (seconds: "
            "whether it works at all).",
            TRAINING,
        ),
    ] = "small",
    seeds: Annotated[
        int | None,
        option("--seeds", "How many seeds, from 0 on. (default: the scale's)", TRAINING, min=1),
    ] = None,
    as_json: AsJson = False,
    *,
    flags: PaperFlags,
) -> None:
    """Repeat an experiment of the lecture or of Srivastava et al. 2014, and set ours beside theirs.

    The paper's p is the probability of KEEPING a unit; here p_drop and p_keep are told apart everywhere.
    How long it takes is estimated from a measured rate before it starts. Runs that are done already are
    skipped, so the same command goes on where it was stopped.

    Examples:

        dropbench paper list

        dropbench paper table9 --scale small

        dropbench paper lecture --data folder:PATH
    """
    from dropbench.experiments.paper.definition import find

    if name == LIST:
        present([_listing(scale, seeds, flags)], as_json)
        return
    chosen = find(name)
    chosen.scale(scale)

    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.paper.estimate import Bench, Images, estimate
    from dropbench.experiments.paper.run import PaperExperiment, carry_out_paper
    from dropbench.experiments.workbench import make_agenda
    from dropbench.report.folder import paper_report
    from dropbench.report.pictures import save_pictures
    from dropbench.results.store import Store

    named = flags if flags.data != "auto" else replace(flags, data=chosen.data)
    bench = named.set_up()
    experiment = PaperExperiment.plan(chosen, scale, bench, seeds)
    store = Store(flags.out)
    kept = bench.keeps(store.folder, experiment.keeps_predictions)
    todo = make_agenda(experiment.runs(), store.ended(), flags.policy(), kept).todo
    if todo:
        with _measuring(name):
            on = Bench.of(bench.device, bench.precision, len(experiment.runs()), bench.runner)
            expected = estimate(experiment.points, experiment.seeds, Images.of(bench.data), on)
        share = len(todo) / len(experiment.runs())
        tell(f"{len(todo)} runs, about {duration(share * expected.seconds)} at the rate just measured here")
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = carry_out_paper(experiment, bench, store, watcher, flags.policy())
    report = paper_report(flags.out, experiment.experiment_id)
    present(report.tables, as_json)
    for picture in save_pictures(report, flags.out):
        tell(f"picture: {picture}")
    tell(f"rows: {flags.out / 'paper.csv'}; their runs: {flags.out / 'runs.csv'}")
    exit_for(outcome)


@contextmanager
def _measuring(what: str) -> Iterator[None]:
    """Something to see while the machine is timed."""
    if plain_progress():
        yield
        return
    with err.status(f"measuring how fast this machine trains {what}"):
        yield


def _listing(scale: str, seeds: int | None, flags: PaperFlags) -> "Table":
    """Every experiment: what it shows, the data it needs, and what it costs here."""
    from dropbench.datasets.registry import default_data_dir, find_source, prepare
    from dropbench.datasets.split import largest_train_size
    from dropbench.engine.device import resolve_device, resolve_precision
    from dropbench.experiments.paper.definition import find, names
    from dropbench.experiments.paper.estimate import SETS, Bench, Images, estimate
    from dropbench.report.table import Column, Table

    device = resolve_device(flags.device)
    precision = resolve_precision(flags.precision, device)
    flags.runner_options().check()
    folder = flags.data_dir or default_data_dir()
    given = None if flags.data == "auto" else Images.of(prepare(flags.data, flags.data_dir))
    rows: list[Row] = []
    for name in names():
        chosen = find(name)
        data = chosen.data if flags.data == "auto" else flags.data
        here = bool(find_source(data).files(folder))
        with _measuring(name):
            points = chosen.points(scale, largest_train_size(given.train) if given else None)
            repeated = seeds or chosen.scale(scale).seeds
            on = Bench.of(device, precision, repeated * len(points), flags.runner_options())
            cost = estimate(points, repeated, given or SETS[chosen.data], on)
        rows.append({"name": name, "shows": chosen.shows, "data": data, "here": here, **vars(cost)})
    columns = (
        Column("name", lambda row: str(row["name"]), left=True),
        Column("what it shows", lambda row: str(row["shows"]), left=True),
        Column("data", lambda row: f"{row['data']}{'' if row['here'] else ' (absent)'}", left=True),
        Column("runs", lambda row: str(row["runs"])),
        Column("takes\nabout", lambda row: duration(row["seconds"])),
    )
    notes = (
        f"Times are for {device.type} in {precision}, estimated from the rate at which this machine has just "
        "trained each experiment's dearest net.",
        "An absent data set is downloaded when it is first used; --data names another in its place.",
    )
    title = f"Experiments of the lecture and of Srivastava et al. 2014, at the scale {scale}"
    return Table("papers", title, columns, tuple(rows), notes)


def duration(seconds: float) -> str:
    """A time as people say it, to one figure or two."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"
